"""Answers to a benchmark's questions, for the commands that judge them: kept from earlier runs, or asked now."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.environment import cache_dir
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.journal import Answer, Journal, journal_path
from gac_app.evaluation.questions import Question, first_of_each_domain
from gac_app.evaluation.report import SystemReport
from gac_app.evaluation.runner import Progress, evaluate
from gac_app.evaluation.systems import System
from gac_app.evaluation.tasks import Task

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

_EVERY_S = 5.0


def check_room(config: Config, parallel: int) -> None:
    """Raise RequestError where so many answers at once do not fit: each holds up to two sequences in each member."""
    for member in config.members:
        if member.max_sequences < 2 * parallel:
            raise RequestError(
                "parallel", f"{parallel} answers at once need max_sequences {2 * parallel} of {member.name}"
            )


class Asker:
    """Puts questions of one file to systems: kept answers are not asked again. Progress goes to stderr.

    Args:
        ensemble: stays the caller's.
        questions: all of the file, whatever is asked of it: the journals are named by them.
        parallel: answers under way at once.
        fresh: ask again, once, what earlier runs have answered.
    """

    def __init__(
        self, ensemble: Ensemble, task: Task, questions: Sequence[Question], *, parallel: int, fresh: bool
    ) -> None:
        self.ensemble = ensemble
        self._task = task
        self._questions = questions
        self._parallel = parallel
        self._fresh = fresh
        self._journals: dict[System, Journal] = {}

    def __call__(self, systems: Sequence[System], asked: Sequence[Question]) -> dict[System, list[Answer]]:
        """Every system's answers to `asked`, some of the questions, in their order."""
        candidates = [candidate for system in systems for candidate in system.candidates]
        journals = {system: self._journal(system) for system in [*systems, *candidates]}
        found = evaluate(
            self.ensemble,
            self._task,
            asked,
            journals,
            num_parallel=self._parallel,
            on_progress=_Reporter(self._task.name),
        )
        return {system: found[system] for system in systems}

    def _journal(self, system: System) -> Journal:
        if system not in self._journals:
            config = self.ensemble.config
            path = journal_path(cache_dir(config) / "evaluation", config, self._task, system, self._questions)
            if self._fresh:
                path.unlink(missing_ok=True)
            self._journals[system] = Journal(path)
        return self._journals[system]


@contextmanager
def asking(config: Config, task: Task, questions: Sequence[Question], *, parallel: int, fresh: bool) -> Iterator[Asker]:
    """An `Asker` over the configuration's members, which are loaded for it."""
    from gac_app.bootstrap import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    with closing(load_ensemble(config)) as ensemble:
        yield Asker(ensemble, task, questions, parallel=parallel, fresh=fresh)


def collect(
    config: Config,
    task: Task,
    questions: Sequence[Question],
    systems: Sequence[System],
    *,
    limit: int | None,
    parallel: int,
    fresh: bool,
) -> dict[System, list[Answer]]:
    """Every system's answers, in the order of `first_of_each_domain(questions, limit)`; see `Asker`."""
    with asking(config, task, questions, parallel=parallel, fresh=fresh) as ask:
        return ask(systems, first_of_each_domain(questions, limit))


def check_answered(reports: Sequence[SystemReport]) -> None:
    """Raise GacError where an answer is missing: the reports count it as wrong."""
    failed = [report for report in reports if report.num_failed]
    if failed:
        counts = ", ".join(f"{report.system.name} {report.num_failed}" for report in failed)
        raise GacError(f"answers failed and count as wrong ({counts}); the first: {failed[0].first_error}")


class _Reporter:
    """Prints progress on stderr, every few seconds and at both ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_s = -_EVERY_S

    def __call__(self, progress: Progress) -> None:
        if progress.seconds - self._last_s < _EVERY_S and progress.num_done < progress.num_total:
            return
        self._last_s = progress.seconds
        parts = [f"{self._name}: {progress.num_done} of {progress.num_total} answers"]
        if progress.num_kept:
            parts.append(f"{progress.num_kept} from earlier runs (--fresh asks again)")
        if progress.num_failed:
            parts.append(f"{progress.num_failed} failed")
        if progress.seconds_left:
            parts.append(f"{timedelta(seconds=round(progress.seconds_left))} left")
        print(", ".join(parts), file=sys.stderr, flush=True)
