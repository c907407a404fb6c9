"""`Answer`: what an ensemble has answered."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

from gac_app.decoding.trace import FinishedEvent, FinishReason, StepTrace


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that has come to its end. Where a member fails there is none: the error is raised.

    Attributes:
        reason: STOP at an end token or a stop string, LENGTH at a limit, which `detail` names; ABORT if a `Decoding`
            was closed before.
        num_tokens: steps, END included.
        num_ensembled: of them, those at which several members decided.
        digest: equal digests mean equal tokens and equal probabilities.
        is_reproducible: the same models, messages, settings and seed give this digest again, whatever else runs.
        steps: everything that each step saw and chose.
    """

    text: str
    reason: FinishReason
    detail: str
    num_tokens: int
    num_ensembled: int
    ttft_s: float
    seconds: float
    digest: str
    is_reproducible: bool
    steps: tuple[StepTrace, ...] = field(repr=False)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, end: FinishedEvent, steps: tuple[StepTrace, ...]) -> Self:
        """The answer of a session that did not fail."""
        told = {one.name: getattr(end, one.name) for one in fields(cls) if one.name != "steps"}
        return cls(steps=steps, **told)
