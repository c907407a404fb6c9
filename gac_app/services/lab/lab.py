"""The Lab: studies on a small sample, one at a time for all visitors, with progress, and their results.

A result belongs to the visitor who started its study. The command line's results belong to the operator, and everybody
sees them. Runs come first: a study decodes only while no run does. The visitor who started a study and the operator can
cancel it.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import UNEXPECTED, BusyError, GacError, Phrase, RequestError
from gac_app.evaluation.studies import KeptResults
from gac_app.services.lab.results import LabResults
from gac_app.services.lab.studies import OWN, STUDIES, QuestionSet, Study, carry_out, own_questions, question_sets
from gac_app.services.threads import begin_thread
from gac_app.services.visitors import owner_of
from gac_app.services.writes import wait_for
from gac_app.storage import Store

if TYPE_CHECKING:  # they load torch and numpy, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.evaluation.running import StudyProgress

__all__ = ["MIN_QUESTIONS", "OWN", "STUDIES", "Lab", "QuestionSet", "Running", "Study"]

logger = logging.getLogger(__name__)

Stoppable = tuple["Ensemble", Callable[[], None]]

MIN_QUESTIONS = 4
CLOSE_TIMEOUT_S = 2.0
_HOUR_S = 3600.0


@dataclass(slots=True)
class Running:
    """The running study. `num_done` and `num_total` count the answers of a round; a study may have several."""

    study: type[Study]
    set_name: str
    owner: str
    stop: Callable[[], None]  # stops its members' reads
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

    def note(self, progress: StudyProgress) -> None:
        """Count an answer. Raises _Cancelled."""
        self.round += progress.num_done < self.num_done
        self.num_done, self.num_total = progress.num_done, progress.num_total
        self.seconds_left = progress.seconds_left
        if self.cancelled.is_set():
            raise _Cancelled


class _Cancelled(GacError):  # noqa: N818 (not an error: it was asked for)
    """The study was cancelled."""


class Lab:
    """Runs studies in their own thread, with the members that visitors use.

    Args:
        folder: keeps answers and the operator's results.
        ensemble: gives the ensemble for one study, and a function that ends all its reads. Raises GacError while it is
            not ready.
        store: keeps the visitors' results.

    Raises:
        ConfigError: a file of questions in the configuration cannot be used.
    """

    def __init__(self, config: Config, folder: Path, ensemble: Callable[[], Stoppable], store: Store) -> None:
        self.sets = question_sets(config)
        self.max_questions = config.lab.max_questions
        self.results = LabResults(KeptResults(folder / "results"), store, self._may_edit_files, config.member_names)
        self.running: Running | None = None
        self.last_error = ""  # why the last study failed
        self._config = config
        self._folder = folder
        self._ensemble = ensemble
        self._started: dict[str, list[float]] = {}  # by owner, by client: start times in the last hour; monotonic
        self._lock = threading.Lock()

    def may_start(self, visitor_key: str) -> bool:
        """Whether this visitor may start studies: everybody may, but on a public host only the operator."""
        open_to = self._config.lab.open_to
        is_open = not self._config.is_public if open_to == "auto" else open_to == "visitors"
        return is_open or self._is_operator(visitor_key)

    def is_mine(self, visitor_key: str, running: Running) -> bool:
        return hmac.compare_digest(running.owner, owner_of(visitor_key))

    def may_cancel(self, visitor_key: str, running: Running) -> bool:
        return self.is_mine(visitor_key, running) or self._is_operator(visitor_key)

    def start(
        self, visitor_key: str, study_name: str, set_name: str, num_questions: int, own: str = "", *, client: str = ""
    ) -> None:
        """Begin a study.

        Args:
            set_name: the set of questions; `OWN` = the visitor's; ignored if the study needs none.
            own: the visitor's own questions, as text.
            client: as in `RunService.start`; keys can be invented, so studies are counted by address too.

        Raises:
            RequestError: study, set and number do not fit, or studies are not open to this visitor.
            BusyError: while another study runs, or where this visitor or client has started too many.
            GacError: while the models are not ready.
        """

        if not self.may_start(visitor_key):
            raise RequestError("study", Phrase("Only the operator of this page can start studies."))
        study = next((study for study in STUDIES if study.name == study_name), None)
        if study is None:
            raise RequestError("study", f"unknown study {study_name!r}; expected {', '.join(s.name for s in STUDIES)}")
        chosen = None if study.needs == "nothing" else self._set(set_name, own)
        if chosen:
            self._check_number(num_questions, chosen)
        ensemble, stop = self._ensemble()
        running = Running(study, chosen.name if chosen else "", owner_of(visitor_key), stop)
        with self._lock:
            if self.running:
                raise BusyError(
                    Phrase(
                        "A study is running ({study}). Try again when it is done.",
                        study=Phrase(self.running.study.title),
                    )
                )
            self._count(visitor_key, client)
            work = running, ensemble, chosen, num_questions, visitor_key
            self.running, self.last_error = running, ""
            try:
                running.thread = begin_thread("lab", self._work, *work)
            except BusyError:
                self.running = None
                raise

    def cancel(self, visitor_key: str) -> None:
        """Cancel the running study. Its answers are kept for the next one. Raises RequestError for another visitor's
        study.
        """
        running = self.running
        if running and not self.may_cancel(visitor_key, running):
            raise RequestError("study", Phrase("Somebody else started this study."))
        if running:
            running.cancel()

    def forget(self, visitor_key: str) -> None:
        """Cancel a visitor's study, and keep no figures of their results."""
        with self._lock:
            if (running := self.running) and self.is_mine(visitor_key, running):
                running.cancel()
        self.results.forget()

    def close(self) -> None:
        """Cancel the running study, and wait for it briefly."""
        if running := self.running:
            running.cancel()
            if running.thread:
                running.thread.join(CLOSE_TIMEOUT_S)

    def _is_operator(self, visitor_key: str) -> bool:
        return owner_of(visitor_key) in self._config.lab.operators

    def _count(self, visitor_key: str, client: str) -> None:
        """Raise BusyError if too many studies were started within an hour, and not by the operator."""
        if self._is_operator(visitor_key):
            return
        since = time.monotonic() - _HOUR_S
        recent = {name: [at for at in times if at > since] for name, times in self._started.items()}
        self._started = {name: times for name, times in recent.items() if times}
        mine = [self._started.setdefault(name, []) for name in {owner_of(visitor_key), client} if name]
        limit = self._config.lab.max_per_hour
        if max(map(len, mine)) >= limit:
            raise BusyError(
                Phrase("{count} studies were started from here within an hour. Try again later.", count=limit)
            )
        for times in mine:
            times.append(time.monotonic())

    def _may_edit_files(self, visitor_key: str) -> bool:
        return not self._config.is_public or self._is_operator(visitor_key)

    def _check_number(self, num_questions: int, chosen: QuestionSet) -> None:
        """Raise RequestError if the number of questions does not fit."""
        if not MIN_QUESTIONS <= num_questions <= self.max_questions:
            raise RequestError(
                "questions",
                Phrase("Choose {least} to {most} questions.", least=MIN_QUESTIONS, most=self.max_questions),
            )
        if num_questions > len(chosen.questions):
            raise RequestError(
                "questions",
                Phrase("{set} has only {count} questions.", set=Phrase(chosen.name), count=len(chosen.questions)),
            )

    def _set(self, name: str, own: str) -> QuestionSet:
        if name == OWN:
            return own_questions(own)
        sets = {found.name: found for found in self.sets}
        if name not in sets:
            raise RequestError("task", f"unknown task {name!r}; expected {', '.join(sets)}")
        return sets[name]

    # --- in the study's thread

    def _work(
        self, running: Running, ensemble: Ensemble, chosen: QuestionSet | None, num_questions: int, visitor_key: str
    ) -> None:
        error, is_own = "", running.set_name == OWN
        try:
            folder = None if is_own else self._folder  # answers to a visitor's own questions are not kept
            result = carry_out(running.study, ensemble, chosen, num_questions, folder, running.note)
            keep = self.results.ready_to_keep(visitor_key, result, is_own=is_own)
            with self._lock:  # so that it is written before a deletion of everything, or never
                if running.cancelled.is_set():  # its last answers may have failed because of the cancellation
                    raise _Cancelled
                write = keep()
            wait_for(write)
        except GacError as reason:
            error = Phrase("The study was cancelled.") if running.cancelled.is_set() else reason.user_message
        except BaseException:  # `SystemExit` too: nobody could start another study
            logger.exception("a study broke")
            error = UNEXPECTED
        self.last_error, self.running = error, None
