"""The vocabulary of judgements: outcomes, reasons and origins, as they are stored, exported and shown."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from gac_app.errors import RequestError

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

MAX_COMMENT_CHARS = 2_000


class Outcome(StrEnum):
    """A vote."""

    LEFT = "left"
    RIGHT = "right"
    TIE = "tie"
    BOTH_BAD = "both-bad"

    @property
    def left_score(self) -> float:
        """The left side's score, 0 to 1. Both bad counts as a tie, as at LMArena."""
        return {Outcome.LEFT: 1.0, Outcome.RIGHT: 0.0}.get(self, 0.5)


class Reason(StrEnum):
    """Why a side was liked or disliked."""

    USEFUL = "useful"
    COMPLETE = "complete"
    CREATIVE = "creative"
    CLEAR = "clear"
    INCORRECT = "incorrect"
    SUPERFICIAL = "superficial"
    INSTRUCTIONS_NOT_FOLLOWED = "instructions-not-followed"


class Verdict(StrEnum):
    """The operator's word on a vote, whatever moderation says."""

    DROPPED = "dropped"
    RESTORED = "restored"


def flags_of(flags: Iterable[str], verdict: str | None) -> tuple[str, ...]:
    """A vote's flags after the operator's verdict, if there is one; a vote that has any does not count."""
    return () if verdict == Verdict.RESTORED else (*flags, *([verdict] if verdict else []))


class Origin(StrEnum):
    """Who judged. Votes of different origins are never rated together."""

    PEOPLE = "people"
    REFERENCE = "reference"  # the known answers of a task


def reasons_of(values: object, side: Side) -> list[str]:
    """A side's reasons, each once, in the order of `Reason`. Raises RequestError if one is unknown."""
    if not isinstance(values, list | tuple) or not all(value in list(Reason) for value in values):
        raise RequestError(f"reasons.{side}", f"expected a list of {', '.join(Reason)}")
    return [reason.value for reason in Reason if reason in values]
