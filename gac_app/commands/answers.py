"""Asks questions for the commands that evaluate systems: loads the members, and prints progress on stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta

from gac_app.config import Config
from gac_app.environment import evaluation_dir
from gac_app.evaluation.running import Progress
from gac_app.evaluation.studies import Evaluator
from gac_app.evaluation.tasks import Question, Task

_EVERY_S = 5.0


@contextmanager
def evaluating(
    config: Config, task: Task, questions: Sequence[Question], *, parallel: int, fresh: bool
) -> Iterator[Evaluator]:
    """An `Evaluator` over the configuration's members, which are loaded for the block.

    Args:
        questions: all questions of the file.
        parallel, fresh: see `Evaluator`.
    """
    from gac_app.bootstrap import load_ensemble

    logging.getLogger("gac_app").setLevel(logging.WARNING)
    reporter = _Reporter(task.name)
    with closing(load_ensemble(config)) as ensemble:
        folder = evaluation_dir(config)
        ask = Evaluator(ensemble, task, questions, folder, parallel=parallel, fresh=fresh)
        ask.on_progress = reporter
        yield ask


class _Reporter:
    """Prints progress on stderr every few seconds, and at the start and end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last_s = -_EVERY_S

    def __call__(self, progress: Progress) -> None:
        if progress.num_done == progress.num_kept:
            self._last_s = -_EVERY_S  # a new call begins
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
