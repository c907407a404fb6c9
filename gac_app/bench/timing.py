"""Decoding with a clock: when each token came, and medians over what was run in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, TypeVar

from gac_app.decoding.trace import FinishedEvent, StepTrace, TokenEvent
from gac_app.errors import GacError

if TYPE_CHECKING:
    from gac_app.decoding.loop import DecodingSession

Case = TypeVar("Case")
Result = TypeVar("Result")

MIN_TOKENS = 8  # of an answer that is timed


@dataclass(frozen=True, slots=True)
class Decoded:
    """One answer, with the time at which each of its tokens came."""

    marks_s: list[float]
    steps: list[StepTrace]
    finished: FinishedEvent

    @property
    def ms_per_token(self) -> float:
        """Between the first token and the last, so without the prompt."""
        return ms_per_token(self.marks_s)

    @property
    def overhead_ms(self) -> float:
        """Of a step, what goes beyond the forward pass of its slowest member; a mean over all but the first."""
        waited_s = sum(max(member.seconds for member in step.members) for step in self.steps[1:])
        return self.ms_per_token - 1000 * waited_s / (len(self.steps) - 1)


def decode(session: DecodingSession) -> Decoded:
    """Run a session to its end. Raises GacError where its answer is too short to be timed."""
    marks: list[float] = []
    steps: list[StepTrace] = []
    finished: FinishedEvent | None = None
    for event in session.events():
        if isinstance(event, TokenEvent):
            marks.append(time.monotonic())
            steps.append(event.step)
        else:
            finished = event
    assert finished is not None  # noqa: S101 (a session ends with it)
    if len(steps) < MIN_TOKENS:
        raise GacError(
            f"an answer ended after {len(steps)} tokens, too few to time: {finished.detail or finished.text}"
        )
    return Decoded(marks, steps, finished)


def ms_per_token(marks_s: Sequence[float]) -> float:
    """Mean milliseconds between tokens that came at these times."""
    return 1000 * (marks_s[-1] - marks_s[0]) / (len(marks_s) - 1)


def interleaved(
    cases: Sequence[Case], *runs: Callable[[Case], Result], warm_up: bool = True
) -> list[tuple[Result, ...]]:
    """Every run over every case, A B A B ..., one tuple per case; the first case is first run once for nothing."""
    if warm_up:
        for run in runs:
            run(cases[0])
    return [tuple(run(case) for run in runs) for case in cases]


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median of a / b: each pair was measured one right after the other."""
    return median(a / b for a, b in pairs)
