"""How a server bears visitors: tokens per second and the time to the first token, by their number.

Each visitor has an address of its own, and asks the ensemble again as soon as it has an answer, through the service's
queue, which orders visitors fairly. Sixteen answers decode at once; further visitors wait.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import PROMPTS, Workbench
from gac_app.config import Config
from gac_app.decoding.trace import FinishReason
from gac_app.errors import GacError
from gac_app.models.message import Message
from gac_app.services.completions.completion_run import Question
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.completions.systems import System
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store

if TYPE_CHECKING:  # it loads torch
    from gac_app.decoding.ensemble import Ensemble

logger = logging.getLogger(__name__)

RUN_TIMEOUT_S = 300.0
NUMBERS = (1, 2, 4, 8, 16, 32)
_PLACES = 16
_LENGTHS = 16, 48  # tokens of an answer; they differ, so that visitors do not keep step
_BEGIN_S, _COUNTED_S = 4.0, 16.0  # of each number: until all have come, and what is counted then
_CURVE = "visitors: tokens/s"


@dataclass(frozen=True, slots=True)
class _Served:
    """When it was asked for, began and ended; monotonic seconds."""

    asked_s: float
    first_s: float
    ended_s: float
    num_tokens: int

    def tokens_within(self, begin_s: float, end_s: float) -> float:
        """As if its tokens came evenly."""
        shared_s = min(self.ended_s, end_s) - max(self.first_s, begin_s)
        return self.num_tokens * max(0.0, shared_s) / max(1e-9, self.ended_s - self.first_s)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What so many visitors got: all their tokens per second, and the seconds until each answer's first token."""

    tokens_per_s: float
    waits_s: Sequence[float]

    @property
    def p95_s(self) -> float:
        return float(np.percentile(self.waits_s, 95))


def measure(bench: Workbench) -> list[Row]:
    """The curve, and what is expected of it."""
    # As many answers decode at once, with sequences for all of them.
    members = tuple(member.model_copy(update={"max_sequences": 2 * _PLACES + 4}) for member in bench.config.members)
    server = bench.config.server.model_copy(update={"max_running": _PLACES, "max_waiting": max(NUMBERS)})
    config = bench.config.model_copy(update={"members": members, "server": server})
    with closing(bench.loaded(config)) as ensemble, run_service(config, ensemble) as service:
        completions = Completions(service)
        crowds = {number: crowd_of(completions, config, number, _BEGIN_S, _COUNTED_S) for number in NUMBERS}
    pace = {number: crowd.tokens_per_s for number, crowd in crowds.items()}
    return [
        *(_row(number, crowd) for number, crowd in crowds.items()),
        Row(f"{_CURVE}, 8 ÷ 4", pace[8] / pace[4], target=Target(">=", 1.0)),
        Row(f"{_CURVE}, 32 ÷ 8", pace[32] / pace[8], target=Target(">=", 0.95)),
        Row("visitors: p95 of the first token, 16 ÷ 1", crowds[16].p95_s / crowds[1].p95_s, target=Target("<=", 4.0)),
    ]


def _row(number: int, crowd: Crowd) -> Row:
    waits = f"first token: median {median(crowd.waits_s):.2f} s, p95 {crowd.p95_s:.2f} s, {len(crowd.waits_s)} answers"
    return Row(f"{_CURVE}, {number}", crowd.tokens_per_s, "tokens/s", note=waits)


@contextmanager
def run_service(config: Config, ensemble: Ensemble) -> Iterator[RunService]:
    """The service over a loaded ensemble, with a temporary database."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        closing(Store(f"sqlite:///{Path(folder) / 'bench.sqlite3'}")) as store,
    ):
        service = RunService(config, store)
        service.members.use(ensemble)
        yield service


def crowd_of(completions: Completions, config: Config, number: int, begin_s: float, counted_s: float) -> Crowd:
    """Let so many visitors come within `begin_s`. What they ask for in the next `counted_s` counts, whenever it is
    answered.
    """
    from_s = time.monotonic() + begin_s
    until_s = from_s + counted_s
    with ThreadPoolExecutor(number) as pool:
        names = [f"{number}.{visitor}" for visitor in range(number)]  # of nobody before, so that nothing is kept
        visits = list(pool.map(partial(_visit, completions, config, begin_s, until_s), names))
    answers = list(chain.from_iterable(visits))
    left_s = min(visit[-1].ended_s for visit in visits)  # until then, all were there
    num_tokens = sum(answer.tokens_within(from_s, left_s) for answer in answers)
    waits_s = [answer.first_s - answer.asked_s for answer in answers if answer.asked_s >= from_s]
    crowd = Crowd(num_tokens / (left_s - from_s), waits_s)
    logger.info("%d visitors: %.1f tokens/s, p95 of the first token %.2f s", number, crowd.tokens_per_s, crowd.p95_s)
    return crowd


def _visit(completions: Completions, config: Config, begin_s: float, until_s: float, name: str) -> list[_Served]:
    """Ask until then, one answer after the other, and at least twice."""
    random_ = random.Random(name)  # noqa: S311 (a simulation)
    time.sleep(random_.uniform(0.0, begin_s))
    asker = Asker(visitor_key=name.encode().hex().zfill(64), client=name, max_at_once=None)
    answers = list[_Served]()
    while len(answers) < 2 or time.monotonic() < until_s:
        limits = {"mode": "gate", "temperature": 0, "stop": (), "max_new_tokens": random_.randint(*_LENGTHS)}
        settings = config.settings_from(limits)
        prompt = (Message("user", f"{name}.{len(answers)} {random_.choice(PROMPTS)}"),)
        question = Question(system=System("ensemble", None, settings), settings=settings, prompts=(prompt,))
        answers.append(_answered(completions, question, asker))
    return answers


def _answered(completions: Completions, question: Question, asker: Asker) -> _Served:
    """Raises GacError for an answer that fails or does not end."""
    asked_s = time.monotonic()
    run = completions.start(question, asker)
    [stream] = run.streams.values()
    with completions.following(run):
        run.wait_for(lambda: stream.events or run.over.is_set(), RUN_TIMEOUT_S)
        first_s = time.monotonic()
        run.over.wait(RUN_TIMEOUT_S)
    end = stream.finished
    if end is None or end.reason is FinishReason.ERROR:
        raise GacError(end.detail if end else f"an answer took more than {RUN_TIMEOUT_S:.0f} s")
    return _Served(asked_s, first_s, time.monotonic(), end.num_tokens)
