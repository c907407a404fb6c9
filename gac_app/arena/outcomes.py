"""What may be said of a battle: the words that are stored, exported and shown."""

from __future__ import annotations

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
        """What the left one gets of the one point that a battle gives; both bad is a tie, as at LMArena."""
        return {Outcome.LEFT: 1.0, Outcome.RIGHT: 0.0}.get(self, 0.5)


class Reason(StrEnum):
    """Why one side was liked, or was not."""

    USEFUL = "useful"
    COMPLETE = "complete"
    CREATIVE = "creative"
    CLEAR = "clear"
    INCORRECT = "incorrect"
    SUPERFICIAL = "superficial"
    INSTRUCTIONS_NOT_FOLLOWED = "instructions-not-followed"


class Kind(StrEnum):
    """A judgement's row: rows are only ever appended, the last vote or undo counts."""

    VOTE = "vote"
    UNDO = "undo"
    REMARK = "remark"  # reasons and a comment, sealed; the last one counts


class Origin(StrEnum):
    """Who judged; what is of different origin is never rated together."""

    PEOPLE = "people"
    COMPARE = "compare"  # people too, who saw the names: implied by a vote on a run
    REFERENCE = "reference"  # the known answers of a task


def outcome_of(value: object) -> Outcome:
    """Raises RequestError where `value` is none."""
    try:
        return Outcome(value)  # type: ignore[arg-type]
    except ValueError:
        raise RequestError("outcome", f"expected one of {', '.join(Outcome)}") from None


def reasons_of(values: object, side: Side) -> list[str]:
    """The reasons of a side, each once, in their own order. Raises RequestError where one is unknown."""
    if not isinstance(values, list | tuple) or not all(value in list(Reason) for value in values):
        raise RequestError(f"reasons.{side}", f"expected a list of {', '.join(Reason)}")
    return [reason.value for reason in Reason if reason in values]
