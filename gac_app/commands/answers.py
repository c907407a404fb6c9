"""Answers to a benchmark's questions, for the commands that judge them: kept from earlier runs, or asked now."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

from gac_app.config import Config
from gac_app.environment import cache_dir
from gac_app.errors import RequestError
from gac_app.evaluation.journal import Answer, Journal, journal_path
from gac_app.evaluation.questions import Question, first_of_each_domain
from gac_app.evaluation.runner import Progress, evaluate
from gac_app.evaluation.systems import System
from gac_app.evaluation.tasks import Task

_EVERY_S = 5.0


def check_room(config: Config, parallel: int) -> None:
    """Raise RequestError where so many answers at once do not fit: each holds up to two sequences in each member."""
    for member in config.members:
        if member.max_sequences < 2 * parallel:
            raise RequestError(
                "parallel", f"{parallel} answers at once need max_sequences {2 * parallel} of {member.name}"
            )


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
    """Every system's answers, in the order of `first_of_each_domain(questions, limit)`. Progress goes to stderr.

    Args:
        questions: all of the file, whatever the limit: the journals are named by them.
        parallel: answers under way at once.
        fresh: ask again what earlier runs have answered.
    """
    from gac_app.bootstrap import load_ensemble

    journals = _journals(config, task, systems, questions, fresh)
    asked = first_of_each_domain(questions, limit)
    logging.getLogger("gac_app").setLevel(logging.WARNING)
    with closing(load_ensemble(config)) as ensemble:
        return evaluate(ensemble, task, asked, journals, num_parallel=parallel, on_progress=_Reporter(task.name))


def _journals(
    config: Config, task: Task, systems: Sequence[System], questions: Sequence[Question], fresh: bool
) -> dict[System, Journal]:
    folder = cache_dir(config) / "evaluation"
    paths = {system: journal_path(folder, config, task, system, questions) for system in systems}
    if fresh:
        for path in paths.values():
            path.unlink(missing_ok=True)
    return {system: Journal(path) for system, path in paths.items()}


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
