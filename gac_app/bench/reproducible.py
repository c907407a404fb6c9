"""Whether answers depend only on models, messages, settings and seed: each must have one digest.

Every answer is decoded alone; beside one and seven others that begin at random times; with cold and warm caches;
as a follow-up turn; after a branch; and after a restart, in another process.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from gac_app.bench.harness import Harness, print_found
from gac_app.bench.rows import Row, Target
from gac_app.decoding.loop import Branch
from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.models.message import Message

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

PROMPTS = (
    "Nenne drei Städte in Deutschland und was man dort sieht.",
    "用两句话介绍一下长城。",
    "हिंदी में एक छोटी कविता लिखो।",
    "def fibonacci(n):\n    # Complete this function and explain it.\n",
)
FOLLOW_UP = "Say the same in other words."
COMPANY = (1, 7)
_MOST_DELAY_S = 0.2  # before an answer begins beside others
_BRANCH_AT = 4  # the step at which a branch begins


@dataclass(frozen=True, slots=True)
class _Job:
    """One answer that must always be the same. `alone`: a member; None = the ensemble."""

    name: str
    messages: tuple[Message, ...]
    alone: str | None
    changes: dict[str, Any] = field(hash=False)


def measure(harness: Harness) -> list[Row]:
    battery = _Battery(harness.ensemble, jobs_of(harness), random.Random(0))  # noqa: S311 (moments, not secrets)
    battery.run()
    for name, digest in harness.in_child(__name__):
        battery.digests[name].append(digest)
    found = battery.digests
    differing = [name for name, digests in found.items() if len(set(digests)) > 1]
    note = f"{len(found)} answers, {sum(map(len, found.values()))} times in all"
    note += f"; several digests: {', '.join(differing[:8])}" if differing else ""
    most = max(len(set(digests)) for digests in found.values())
    return [Row("digests of one answer, at most", float(most), target=Target("<=", 1), note=note)]


def jobs_of(harness: Harness) -> list[_Job]:
    """Every prompt, by every member alone and by the ensemble: every step, gated, and sampled with a seed."""
    ways: list[tuple[str, str | None, dict[str, Any]]] = [(name, name, {}) for name in harness.config.member_names]
    ways += [
        ("every step", None, {"mode": "every-step"}),
        ("gate", None, {"mode": "gate", "threshold": 0.8}),
        ("sampled", None, {"mode": "every-step", "temperature": 0.8, "top_p": 0.95, "seed": 7}),
    ]
    prompts = PROMPTS[:1] if harness.is_quick else PROMPTS
    limits = {"temperature": 0, "max_new_tokens": 16}
    return [
        _Job(f"{prompt[:16]!r} by {name}", (Message("user", prompt),), alone, {**limits, **changes})
        for prompt in prompts
        for name, alone, changes in ways
    ]


def _decoded(
    ensemble: Ensemble, job: _Job, namespace: str = "", branch: Branch | None = None
) -> tuple[list[bytes], FinishedEvent]:
    """An answer's tokens, and its end."""
    settings = ensemble.config.settings_from(job.changes)
    session = ensemble.session(list(job.messages), settings, alone=job.alone, branch=branch, namespace=namespace)
    *events, end = session.events()
    assert isinstance(end, FinishedEvent)  # noqa: S101 (every session ends with it)
    return [event.step.token for event in events if isinstance(event, TokenEvent)], end


class _Battery:
    """Gives every job's answer under all conditions.

    Attributes:
        digests: of each answer, by the job's name.
    """

    def __init__(self, ensemble: Ensemble, jobs: Sequence[_Job], moments: random.Random) -> None:
        self.digests: dict[str, list[str]] = {}
        self._ensemble, self._jobs, self._moments = ensemble, jobs, moments
        self._namespaces = (f"bench-{number}" for number in count(1))

    def run(self) -> None:
        """Give all answers in this process, under all conditions."""
        for job in self._jobs:
            namespace = next(self._namespaces)
            tokens, text = self._answer(job, namespace)
            self._answer(job, namespace)  # with a warm cache
            if len(tokens) > _BRANCH_AT:  # which leaves other text in the caches
                _decoded(self._ensemble, job, namespace, Branch(token=tokens[_BRANCH_AT]))
            self._answer(job, namespace)
            self._follow_up(job, namespace, text)
        for num_others in COMPANY:
            self._run_beside(num_others)

    def _answer(self, job: _Job, namespace: str) -> tuple[list[bytes], str]:
        tokens, end = _decoded(self._ensemble, job, namespace)
        self.digests.setdefault(job.name, []).append(end.digest)
        return tokens, end.text

    def _follow_up(self, job: _Job, namespace: str, text: str) -> None:
        """The next turn, with the turn before cached and not."""
        messages = (*job.messages, Message("assistant", text), Message("user", FOLLOW_UP))
        turn = _Job(f"{job.name}, next turn", messages, job.alone, job.changes)
        for where in (namespace, next(self._namespaces)):
            self._answer(turn, where)
            self._ensemble.forget(where)

    def _run_beside(self, num_others: int) -> None:
        """All jobs in random order, some at once, each starting at a random time."""
        shuffled = self._moments.sample(self._jobs, len(self._jobs))
        delays_s = [self._moments.uniform(0, _MOST_DELAY_S) for _ in shuffled]

        def answer(job: _Job, delay_s: float) -> None:
            time.sleep(delay_s)
            self._answer(job, "")

        with ThreadPoolExecutor(num_others + 1) as pool:
            for done in [pool.submit(answer, *each) for each in zip(shuffled, delays_s, strict=True)]:
                done.result()


def digests_alone(harness: Harness) -> list[tuple[str, str]]:
    """Every job's name and digest, as given by a fresh process."""
    return [(job.name, _decoded(harness.ensemble, job)[1].digest) for job in jobs_of(harness)]


if __name__ == "__main__":
    print_found(digests_alone, *sys.argv[1:])
