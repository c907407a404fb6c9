"""How many visitors a server serves, and how long they wait: a simulation of its queue and batches from step costs.

A server decodes up to `at_once` runs together, in rounds: each gives every run that is decoding one token, and one run
that has begun its prompt. Further runs wait in the order in which they came. Visitors ask, read for a while, and ask
again. The costs of a round come from whole runs on the members as they are loaded, or from the operator.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from statistics import median, quantiles
from typing import TYPE_CHECKING

from gac_app.bench.together import RUN_TIMEOUT_S, run_service
from gac_app.bench.workbench import Workbench
from gac_app.errors import GacError
from gac_app.services.runs.views import ENSEMBLE

if TYPE_CHECKING:
    from gac_app.services.runs.runs import RunService

_ANSWERS_EACH = 8  # simulated answers of a visitor, of which the first quarter is not counted
_MIN_ANSWERS = 200
_NUM_TIMED = 3


@dataclass(frozen=True, slots=True)
class Costs:
    """What a server needs.

    Attributes:
        prompt_s: seconds of computing until one run's first token.
        step_s: seconds of a round, by the number of runs that decode.
    """

    prompt_s: float
    step_s: Mapping[int, float]

    def round_s(self, num_runs: int) -> float:
        """Between known sizes in proportion; above the largest as if more runs took turns."""
        if num_runs in self.step_s:
            return self.step_s[num_runs]
        below = max((size for size in self.step_s if size < num_runs), default=0)
        above = min((size for size in self.step_s if size > num_runs), default=0)
        if not below or not above:
            known = below or above
            return self.step_s[known] * max(1.0, num_runs / known)
        share = (num_runs - below) / (above - below)
        return (1 - share) * self.step_s[below] + share * self.step_s[above]


@dataclass(frozen=True, slots=True)
class Load:
    """What visitors do.

    Attributes:
        num_tokens: of an answer.
        think_s: mean seconds between an answer's end and the visitor's next question; their lengths are exponential.
    """

    num_visitors: int
    num_tokens: int
    think_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """One server under a load: answers' tokens per second, and seconds from question to first token."""

    tokens_per_s: float
    p50_s: float
    p95_s: float


@dataclass(slots=True)
class _Run:
    asked_s: float
    num_left: int
    first_s: float = field(default=0.0)


def simulated(costs: Costs, load: Load, at_once: int, seed: int = 0) -> Forecast:
    """Let visitors ask until each has had some answers. All begin within one `think_s`."""
    rng = random.Random(seed)  # noqa: S311 (a simulation)
    asks = [rng.uniform(0.0, load.think_s) for _ in range(load.num_visitors)]
    heapq.heapify(asks)
    num_wanted = max(_MIN_ANSWERS, _ANSWERS_EACH * load.num_visitors)
    now, waiting, prefilling, decoding = 0.0, deque[_Run](), deque[_Run](), list[_Run]()
    ended: list[tuple[float, float]] = []  # when, and the wait for the first token
    while len(ended) < num_wanted:
        if not (waiting or prefilling or decoding):
            now = max(now, asks[0])
        while asks and asks[0] <= now:
            waiting.append(_Run(heapq.heappop(asks), load.num_tokens))
        while waiting and len(prefilling) + len(decoding) < at_once:
            prefilling.append(waiting.popleft())
        now += costs.round_s(len(decoding)) if decoding else 0.0
        for run in decoding:
            run.num_left -= 1
        if prefilling:
            now += costs.prompt_s
            run = prefilling.popleft()
            run.first_s, run.num_left = now - run.asked_s, run.num_left - 1
            decoding.append(run)
        for run in [run for run in decoding if run.num_left <= 0]:
            decoding.remove(run)
            ended.append((now, run.first_s))
            heapq.heappush(asks, now + (rng.expovariate(1 / load.think_s) if load.think_s else 0.0))
    begun = len(ended) // 4
    counted = ended[begun:]
    waits = quantiles((first_s for _, first_s in counted), n=20, method="inclusive")
    return Forecast(load.num_tokens * (len(counted) - 1) / (counted[-1][0] - counted[0][0]), waits[9], waits[18])


def num_servers(costs: Costs, load: Load, at_once: int, limit_s: float) -> int:
    """How many servers give 95 of 100 answers their first token within `limit_s`, visitors shared evenly. Raises
    GacError if one visitor alone waits longer.
    """

    def fits(num_visitors: int) -> bool:
        share = Load(num_visitors, load.num_tokens, load.think_s)
        return simulated(costs, share, at_once).p95_s <= limit_s

    if not fits(1):
        raise GacError(f"the first token takes more than {limit_s:g} s even for one visitor alone")
    few, many = 1, 2
    while many <= load.num_visitors and fits(many):
        few, many = many, 2 * many
    many = min(many, load.num_visitors + 1)
    while many - few > max(1, few // 50):  # to 2 %
        middle = (few + many) // 2
        few, many = (middle, many) if fits(middle) else (few, middle)
    return ceil(load.num_visitors / few)


def measured(bench: Workbench, sizes: Sequence[int], num_tokens: int) -> Costs:
    """The costs of the page's runs (the ensemble and every member alone) on the members as they are loaded: of one run,
    and of so many at once. Medians of three, after a warm-up.
    """
    with run_service(bench.config, bench.ensemble) as service:
        _timed(bench, service, 1, num_tokens)
        alone = [_timed(bench, service, 1, num_tokens) for _ in range(_NUM_TIMED)]
        prompt_s = median(first_s for _, first_s in alone)
        many = {size: [_timed(bench, service, size, num_tokens) for _ in range(_NUM_TIMED)] for size in sizes}
    seconds = {size: median(whole_s for whole_s, _ in timed) for size, timed in ((1, alone), *many.items())}
    return Costs(prompt_s, {size: (whole_s - size * prompt_s) / (num_tokens - 1) for size, whole_s in seconds.items()})


def _timed(bench: Workbench, service: RunService, size: int, num_tokens: int) -> tuple[float, float]:
    """Seconds of so many runs at once, and of the first one until its first token."""
    settings = bench.settings(max_new_tokens=num_tokens).model_dump()
    began_s = time.monotonic()
    runs = [
        service.start(f"{number:064d}", bench.prompts[number % len(bench.prompts)], settings) for number in range(size)
    ]
    if not all(run.over.wait(RUN_TIMEOUT_S) for run in runs):
        raise GacError(f"a run took more than {RUN_TIMEOUT_S:.0f} s")
    whole_s = time.monotonic() - began_s
    for run in runs:
        run.wait_for(partial(getattr, run, "is_settled"), RUN_TIMEOUT_S)
    ends = [end for run in runs if (end := run.streams[ENSEMBLE].finished)]
    if min(end.num_tokens for end in ends) < num_tokens:
        raise GacError("an answer ended early, so its steps cannot be timed")
    return whole_s, ends[0].ttft_s
