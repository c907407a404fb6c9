"""The Lab: studies on a small sample, one at a time for all visitors, with progress; and the results that are kept.

Results belong to the operator's members, not to a visitor: everybody sees them. Runs come first: a study reads while no
run does. Who started a study, or the operator, can cancel it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import BusyError, GacError, RequestError
from gac_app.evaluation.kept_results import KeptResult, KeptResults
from gac_app.services.live_runs import owner_of
from gac_app.services.studies import STUDIES, QuestionSet, Study, carry_out, question_sets

if TYPE_CHECKING:  # they load torch and numpy, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.evaluation.runner import Progress
    from gac_app.evaluation.studies.result import StudyResult

__all__ = ["MIN_QUESTIONS", "STUDIES", "Lab", "QuestionSet", "Running", "Study"]

logger = logging.getLogger(__name__)

Stoppable = tuple["Ensemble", Callable[[], None]]

MIN_QUESTIONS = 4
CLOSE_TIMEOUT_S = 2.0
_HOUR_S = 3600.0


@dataclass(slots=True)
class Running:
    """The study under way. `num_done` and `num_total` count the answers of a round; a study may ask in several."""

    study: Study
    set_name: str
    owner: str
    stop: Callable[[], None]  # what its members have under way
    round: int = 1
    num_done: int = 0
    num_total: int = 0
    seconds_left: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def cancel(self) -> None:
        """End it within one step."""
        self.cancelled.set()
        self.stop()

    def note(self, progress: Progress) -> None:
        """An answer came. Raises _Cancelled."""
        self.round += progress.num_done < self.num_done
        self.num_done, self.num_total = progress.num_done, progress.num_total
        self.seconds_left = progress.seconds_left
        if self.cancelled.is_set():
            raise _Cancelled


class _Cancelled(GacError):  # noqa: N818 (no error: somebody asked for it)
    """Somebody called the study off."""


class Lab:
    """Runs studies in a thread of their own, over the members that visitors use.

    Args:
        folder: where answers and results are kept.
        ensemble: gives the ensemble for one study, and what ends all that this has under way; raises GacError while it
            is not ready.

    Raises:
        ConfigError: where a file of questions in the configuration cannot be used.
    """

    def __init__(self, config: Config, folder: Path, ensemble: Callable[[], Stoppable]) -> None:
        self.sets = question_sets(config)
        self.max_questions = config.lab.max_questions
        self.results = KeptResults(folder / "results")
        self.last_error = ""  # why the last study gave no result
        self._config = config
        self._folder = folder
        self._ensemble = ensemble
        self._running: Running | None = None
        self._started: dict[str, list[float]] = {}  # by owner, when in the last hour; monotonic
        self._lock = threading.Lock()

    @property
    def running(self) -> Running | None:
        return self._running

    def may_start(self, visitor_key: str) -> bool:
        """Whether studies are open to this visitor: to all, or on a public host only to the operator."""
        open_to = self._config.lab.open_to
        is_open = not self._config.is_public if open_to == "auto" else open_to == "visitors"
        return is_open or self._is_operator(visitor_key)

    def may_cancel(self, visitor_key: str, running: Running) -> bool:
        return running.owner == owner_of(visitor_key) or self._is_operator(visitor_key)

    def start(self, visitor_key: str, study_name: str, set_name: str, num_questions: int) -> None:
        """Begin a study.

        Args:
            set_name: of the questions; whatever, where the study needs none.

        Raises:
            RequestError: where study, set and number do not fit, or studies are not open to this visitor.
            BusyError: while another study runs, or where this visitor has started too many.
            GacError: while the models are not ready.
        """

        if not self.may_start(visitor_key):
            raise RequestError("study", "only the operator of this page starts studies here")
        study = next((study for study in STUDIES if study.name == study_name), None)
        if study is None:
            raise RequestError("study", f"{study_name!r} is none; expected {', '.join(s.name for s in STUDIES)}")
        chosen = None if study.needs == "nothing" else self._set(study, set_name)
        if not MIN_QUESTIONS <= num_questions <= self.max_questions:
            raise RequestError("questions", f"expected {MIN_QUESTIONS} to {self.max_questions}")
        ensemble, stop = self._ensemble()
        running = Running(study, chosen.name if chosen else "", owner_of(visitor_key), stop)
        with self._lock:
            if self._running:
                raise BusyError(f"A study is running ({self._running.study.title}). Please try again when it is done.")
            self._count(visitor_key)
            self._running, self.last_error = running, ""
        running.thread = threading.Thread(
            target=self._work, args=(running, ensemble, chosen, num_questions), name="lab", daemon=True
        )
        running.thread.start()

    def cancel(self, visitor_key: str) -> None:
        """Call off the study that runs; what was answered is kept for the next one. Raises RequestError for others."""
        running = self._running
        if running and not self.may_cancel(visitor_key, running):
            raise RequestError("study", "was started by somebody else")
        if running:
            running.cancel()

    def close(self) -> None:
        """Call off whatever runs, and wait for it for a moment."""
        if running := self._running:
            running.cancel()
            if running.thread:
                running.thread.join(CLOSE_TIMEOUT_S)

    def _is_operator(self, visitor_key: str) -> bool:
        return owner_of(visitor_key) in self._config.lab.operators

    def _count(self, visitor_key: str) -> None:
        """Raise BusyError where a visitor who is not the operator has started too many within an hour."""
        since = time.monotonic() - _HOUR_S
        recent = {owner: [at for at in times if at > since] for owner, times in self._started.items()}
        self._started = {owner: times for owner, times in recent.items() if times}
        mine = self._started.setdefault(owner_of(visitor_key), [])
        limit = self._config.lab.max_per_hour
        if len(mine) >= limit and not self._is_operator(visitor_key):
            raise BusyError(f"You have started {limit} studies within an hour. Please try again later.")
        mine.append(time.monotonic())

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
            result = carry_out(running.study, ensemble, chosen, num_questions, self._folder, running.note)
            if running.cancelled.is_set():  # its last answers may have failed because of that
                raise _Cancelled
            self._keep(result)
        except _Cancelled:
            error = "The study was cancelled."
        except GacError as reason:
            error = "The study was cancelled." if running.cancelled.is_set() else str(reason)
        except Exception:
            logger.exception("a study broke")
            error = "Something unexpected happened; the log of the server says what."
        self.last_error, self._running = error, None

    def _keep(self, result: StudyResult) -> KeptResult:
        return self.results.keep(result, self._config.member_names)
