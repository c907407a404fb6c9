"""The lab: studies on a small sample, one at a time for all visitors, with progress; and the results that are kept.

Results belong to the operator's members, not to a visitor: everybody sees them. Only who started a study can cancel it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gac_app.config import Config
from gac_app.errors import BusyError, ConfigError, GacError, RequestError
from gac_app.evaluation.kept_results import KeptResult, KeptResults
from gac_app.evaluation.questions import Question, first_of_each_domain
from gac_app.evaluation.tasks import Task, asked
from gac_app.services.live_runs import owner_of

if TYPE_CHECKING:  # they load torch and numpy, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.evaluation.asking import Asker
    from gac_app.evaluation.runner import Progress
    from gac_app.evaluation.studies.result import StudyResult

logger = logging.getLogger(__name__)

MIN_QUESTIONS = 4
CLOSE_TIMEOUT_S = 2.0
_SAMPLES = Path(__file__).parents[1] / "evaluation" / "samples"
_OWN_SETS = {"trivia": "triviaqa", "sense": "arc_challenge", "sums": "gsm8k"}  # file -> whose protocol it follows

Needs = Literal["any", "choice", "generation", "nothing"]


@dataclass(frozen=True, slots=True)
class Study:
    """One kind of study. `needs`: which tasks it can be put to."""

    name: str
    title: str
    about: str
    needs: Needs = "any"


STUDIES = (
    Study("eval", "Benchmark", "How often each member and the ensemble answer right, and what an answer costs."),
    Study("sweep", "Threshold", "Accuracy against the share of steps ensembled, over the gate's thresholds."),
    Study("weights", "Weights", "Weights found on one half of the questions, checked on the other."),
    Study("members", "Members", "What more members gain: every choice of them."),
    Study("calibrate", "Calibration", "Whether each is as often right as it is sure.", "choice"),
    Study("snowball", "Snowball", "Who recovers from a wrong beginning of the answer.", "generation"),
    Study("consistency", "Vocabularies", "Whether the members cut the same words into the same tokens.", "nothing"),
)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with the protocol that they are put by."""

    name: str
    task: Task
    questions: tuple[Question, ...]

    def fits(self, study: Study) -> bool:
        return study.needs in ("any", self.task.kind)


@dataclass(slots=True)
class Running:
    """The study under way. `num_done` and `num_total` count the answers of a round; a study may ask in several."""

    study: Study
    set_name: str
    owner: str
    round: int = 1
    num_done: int = 0
    num_total: int = 0
    seconds_left: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class _Cancelled(GacError):  # noqa: N818 (no error: somebody asked for it)
    """Somebody called the study off."""


class Lab:
    """Runs studies in a thread of their own, over the ensemble that visitors use.

    Args:
        folder: where answers and results are kept.
        ensemble: gives the ensemble; raises GacError while it is not ready.

    Raises:
        ConfigError: where a file of questions in the configuration cannot be used.
    """

    def __init__(self, config: Config, folder: Path, ensemble: Callable[[], Ensemble]) -> None:
        self.sets = _question_sets(config)
        self.max_questions = config.lab.max_questions
        self.results = KeptResults(folder / "results")
        self.last_error = ""  # why the last study gave no result
        self._member_names = config.member_names
        self._folder = folder
        self._ensemble = ensemble
        self._running: Running | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> Running | None:
        return self._running

    def start(self, visitor_key: str, study_name: str, set_name: str, num_questions: int) -> None:
        """Begin a study.

        Args:
            set_name: of the questions; whatever, where the study needs none.

        Raises:
            RequestError: where study, set and number do not fit.
            BusyError: while another study runs.
            GacError: while the models are not ready.
        """
        study = next((study for study in STUDIES if study.name == study_name), None)
        if study is None:
            raise RequestError("study", f"{study_name!r} is none; expected {', '.join(s.name for s in STUDIES)}")
        chosen = None if study.needs == "nothing" else self._set(study, set_name)
        if not MIN_QUESTIONS <= num_questions <= self.max_questions:
            raise RequestError("questions", f"expected {MIN_QUESTIONS} to {self.max_questions}")
        ensemble = self._ensemble()
        running = Running(study, chosen.name if chosen else "", owner_of(visitor_key))
        with self._lock:
            if self._running:
                raise BusyError(f"A study is running ({self._running.study.title}). Please try again when it is done.")
            self._running, self.last_error = running, ""
        work = (running, ensemble, chosen, num_questions)
        running.thread = threading.Thread(target=self._work, args=work, name="lab", daemon=True)
        running.thread.start()

    def cancel(self, visitor_key: str) -> None:
        """Call off the study that this visitor started; what was answered is kept for the next one."""
        running = self._running
        if running and running.owner != owner_of(visitor_key):
            raise RequestError("study", "was started by somebody else")
        if running:
            running.cancelled.set()

    def close(self) -> None:
        """Call off whatever runs, and wait for it for a moment."""
        if running := self._running:
            running.cancelled.set()
            if running.thread:
                running.thread.join(CLOSE_TIMEOUT_S)

    def _set(self, study: Study, name: str) -> QuestionSet:
        fitting = [found for found in self.sets if found.fits(study)]
        for found in fitting:
            if found.name == name:
                return found
        raise RequestError("task", f"{name!r} is none for this study; expected {', '.join(s.name for s in fitting)}")

    # --- in the study's thread

    def _work(self, running: Running, ensemble: Ensemble, chosen: QuestionSet | None, num_questions: int) -> None:
        error = ""
        try:
            self._keep(_carried_out(running, ensemble, chosen, num_questions, self._folder))
        except _Cancelled:
            error = "The study was cancelled."
        except GacError as reason:
            error = str(reason)
        except Exception:
            logger.exception("a study broke")
            error = "Something unexpected happened; the log of the server says what."
        self.last_error, self._running = error, None

    def _keep(self, result: StudyResult) -> KeptResult:
        return self.results.keep(result, self._member_names)


def _carried_out(
    running: Running, ensemble: Ensemble, chosen: QuestionSet | None, num_questions: int, folder: Path
) -> StudyResult:
    from gac_app.evaluation.asking import Asker
    from gac_app.evaluation.studies.vocabularies import run_vocabularies

    def on_progress(progress: Progress) -> None:
        running.round += progress.num_done < running.num_done
        running.num_done, running.num_total = progress.num_done, progress.num_total
        running.seconds_left = progress.seconds_left
        if running.cancelled.is_set():
            raise _Cancelled

    if chosen is None:
        return run_vocabularies(ensemble)
    sample = first_of_each_domain(chosen.questions, num_questions)
    ask = Asker(ensemble, chosen.task, chosen.questions, folder, on_progress=on_progress)
    return _RUN[running.study.name](ask, chosen, sample)


def _benchmark(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.benchmark import run_benchmark
    from gac_app.evaluation.systems import default_systems

    return run_benchmark(ask, sample, default_systems(ask.ensemble.config))


def _thresholds(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.thresholds import THRESHOLDS, run_thresholds

    return run_thresholds(ask, sample, THRESHOLDS[1::2], [ask.ensemble.config.settings.gate])


def _weights(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.weights import run_weights

    return run_weights(ask, sample)


def _members(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.members import run_members

    return run_members(ask, sample)


def _calibration(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.calibration import run_calibration
    from gac_app.evaluation.systems import alone_and_every_step

    return run_calibration(ask, sample, alone_and_every_step(ask.ensemble.config))


def _snowball(ask: Asker, chosen: QuestionSet, sample: list[Question]) -> StudyResult:
    from gac_app.evaluation.studies.snowballing import run_snowball
    from gac_app.evaluation.systems import with_whole_answers

    return run_snowball(ask, chosen.questions, sample, with_whole_answers(ask.ensemble.config), "word")


_RUN: Mapping[str, Callable[[Asker, QuestionSet, list[Question]], StudyResult]] = {
    "eval": _benchmark,
    "sweep": _thresholds,
    "weights": _weights,
    "members": _members,
    "calibrate": _calibration,
    "snowball": _snowball,
}


def _question_sets(config: Config) -> tuple[QuestionSet, ...]:
    """The project's own, then the configuration's, which may take their places."""
    files = {name: (task, _SAMPLES / f"{name}.jsonl") for name, task in _OWN_SETS.items()}
    files |= {task: (task, path) for task, path in config.lab.questions.items()}
    sets = []
    for name, (task, path) in files.items():
        try:
            protocol, questions = asked(task, path)
        except RequestError as error:
            raise ConfigError(f"lab.questions.{name}: {error.message}") from None
        sets.append(QuestionSet(name, protocol.model_copy(update={"name": name}), tuple(questions)))
    return tuple(sets)
