"""Timed decoding: the time of each token, of runs in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gac_app.decoding.trace import FinishedEvent, StepTrace, TokenEvent
from gac_app.errors import GacError

if TYPE_CHECKING:
    from gac_app.decoding.loop import DecodingSession

Case = TypeVar("Case")
Result = TypeVar("Result")

MIN_TOKENS = 8  # an answer with fewer is too short to time


@dataclass(frozen=True, slots=True)
class Decoded:
    """One answer, with the time of each token."""

    marks_s: list[float]
    steps: list[StepTrace]
    finished: FinishedEvent

    @property
    def ms_per_token(self) -> float:
        """Mean time between tokens after the first, so without the prompt."""
        return ms_per_token(self.marks_s)

    @property
    def overhead_ms(self) -> float:
        """Mean time of a step beyond its slowest member's forward pass, without the first step."""
        waited_s = sum(max(member.seconds for member in step.members) for step in self.steps[1:])
        return self.ms_per_token - 1000 * waited_s / (len(self.steps) - 1)


def decode(session: DecodingSession) -> Decoded:
    """Run a session to its end. Raises GacError if the answer is too short to time."""
    marks: list[float] = []
    steps: list[StepTrace] = []
    finished: FinishedEvent | None = None
    for event in session.events():
        if isinstance(event, TokenEvent):
            marks.append(time.monotonic())
            steps.append(event.step)
        else:
            finished = event
    assert finished is not None  # noqa: S101 (every session ends with it)
    if len(steps) < MIN_TOKENS:
        raise GacError(
            f"an answer ended after {len(steps)} tokens, too few to time: {finished.detail or finished.text}"
        )
    return Decoded(marks, steps, finished)


def ms_per_token(marks_s: Sequence[float]) -> float:
    """Mean milliseconds between tokens with these times."""
    return 1000 * (marks_s[-1] - marks_s[0]) / (len(marks_s) - 1)


def interleaved(cases: Sequence[Case], *runs: Callable[[Case], Result]) -> list[list[Result]]:
    """Every run over every case, A B A B ...: a list of each run's results."""
    rounds = [[run(case) for run in runs] for case in cases]
    return [list(results) for results in zip(*rounds, strict=True)]
