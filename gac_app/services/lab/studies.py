"""The studies of the Lab: the list, their questions, and how each runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gac_app.config import Config
from gac_app.errors import ConfigError, RequestError
from gac_app.evaluation.tasks import Question, Task, asked, first_of_each_domain, load_task, parse_questions

if TYPE_CHECKING:  # they load torch and numpy, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.evaluation.running import Progress
    from gac_app.evaluation.studies import StudyResult

_SAMPLES = Path(__file__).parents[2] / "evaluation" / "samples"
_OWN_SETS = {"trivia": "triviaqa", "sense": "arc_challenge", "sums": "gsm8k"}  # file -> the task it follows

OWN = "own"  # the set of a visitor's own questions
_OWN_TASKS = {"generation": "triviaqa", "choice": "arc_challenge"}  # the tasks whose protocols these follow

Needs = Literal["any", "choice", "generation", "nothing"]


@dataclass(frozen=True, slots=True)
class Study:
    """One kind of study. `needs`: the kind of tasks that fit."""

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
    """Questions with the task whose protocol they follow."""

    name: str
    task: Task
    questions: tuple[Question, ...]

    def fits(self, study: Study) -> bool:
        return study.needs in ("any", self.task.kind)


def own_questions(study: Study, text: str) -> QuestionSet:
    """A visitor's questions. Raises RequestError if there are none or they do not fit the study."""
    questions = parse_questions(text, "questions")
    kind = "choice" if all(question.is_choice for question in questions) else "generation"
    task = load_task(_OWN_TASKS[kind])
    task.check(questions)
    found = QuestionSet(OWN, task.model_copy(update={"name": OWN}), tuple(questions))
    if not found.fits(study):
        wanted = "'choices' and the right one, 'answer'" if study.needs == "choice" else "accepted 'answers'"
        raise RequestError("questions", f"{study.title} needs questions with {wanted}")
    return found


def carry_out(
    study: Study,
    ensemble: Ensemble,
    chosen: QuestionSet | None,
    num_questions: int,
    folder: Path,
    on_progress: Callable[[Progress], None],
) -> StudyResult:
    """Run a study over some of a set's questions. `chosen` is None for a study that needs none."""
    from gac_app.evaluation.running import alone_and_every_step, default_systems, with_whole_answers
    from gac_app.evaluation.studies import Evaluator
    from gac_app.evaluation.studies.benchmark import run_benchmark
    from gac_app.evaluation.studies.calibration import run_calibration
    from gac_app.evaluation.studies.members import run_members
    from gac_app.evaluation.studies.snowballing import run_snowball
    from gac_app.evaluation.studies.thresholds import THRESHOLDS, run_thresholds
    from gac_app.evaluation.studies.vocabularies import run_vocabularies
    from gac_app.evaluation.studies.weights import run_weights

    if chosen is None:
        return run_vocabularies(ensemble)
    config, questions = ensemble.config, chosen.questions
    sample = first_of_each_domain(questions, num_questions)
    ask = Evaluator(ensemble, chosen.task, questions, folder)
    ask.on_progress = on_progress
    runs: Mapping[str, Callable[[], StudyResult]] = {
        "eval": lambda: run_benchmark(ask, sample, default_systems(config)),
        "sweep": lambda: run_thresholds(ask, sample, THRESHOLDS[1::2], [config.settings.gate]),
        "weights": lambda: run_weights(ask, sample),
        "members": lambda: run_members(ask, sample),
        "calibrate": lambda: run_calibration(ask, sample, alone_and_every_step(config)),
        "snowball": lambda: run_snowball(ask, questions, sample, with_whole_answers(config), "word"),
    }
    return replace(runs[study.name](), asked=ask.asked)


def question_sets(config: Config) -> tuple[QuestionSet, ...]:
    """The built-in sets, then the configuration's, which may replace them."""
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
