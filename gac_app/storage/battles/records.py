"""The values of battles that `BattleStore` takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Row

# What rows, values and exports call by the same name.
BATTLE_COLUMNS = ("origin", "is_blind", "left", "right", "language", "config_hash", "status")


class Kind(StrEnum):
    """The kind of a judgement. A battle has one vote at most, and one remark."""

    VOTE = "vote"
    REMARK = "remark"  # reasons and a comment, encrypted; another one takes its place
    VERDICT = "verdict"  # of the operator, on the vote; the last one counts


@dataclass(frozen=True, slots=True, kw_only=True)
class BattleRecord:
    """What a new battle and a stored one tell.

    Attributes:
        battle_id: made by the caller (uuid4 hex).
        left, right: names of the contestants.
        body: JSON-able; encrypted.
    """

    battle_id: str
    origin: str
    is_blind: bool
    left: str
    right: str
    language: str = ""
    config_hash: str = ""
    status: str = "running"
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBattle(BattleRecord):
    """A new battle.

    Attributes:
        visitor_key: only its hash is stored.
        client: names the address; never exported.
    """

    visitor_key: str
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJudgement:
    """A row to append, or the remark that takes the place of the one before."""

    kind: str
    outcome: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


def vote_in(judgements: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The vote, whatever the operator's verdict; None = there is none."""
    return next((row for row in judgements if row["kind"] == Kind.VOTE), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBattle(BattleRecord):
    """A battle with its judgements in order, as exported. `visitor` is a pseudonym that is equal in all databases."""

    visitor: str
    created_at: str
    judgements: tuple[Mapping[str, Any], ...]

    @property
    def vote(self) -> Mapping[str, Any] | None:
        """None = there is none."""
        return vote_in(self.judgements)

    @property
    def outcome(self) -> str:
        """That of the vote; "" = none."""
        return self.vote["outcome"] if self.vote else ""

    def last(self, kind: Kind) -> Mapping[str, Any] | None:
        """The newest judgement of a kind; None = there is none."""
        return next((row for row in reversed(self.judgements) if row["kind"] == kind), None)

    @property
    def names_revealed(self) -> bool:
        """Whether its visitor may know the names. Without a vote they would only tell how a contestant answers the same
        prompt, in a battle that can still be judged.
        """
        return not self.is_blind or bool(self.outcome)


class Holding(NamedTuple):
    """The server that judges a battle, and the client that it came from."""

    server_id: str
    client: str


VoteRow = Row[Any]  # the columns of `tables.StandingVote`


class VoteNews(NamedTuple):
    """What a reader of votes lacks: `added`, and `left`, the numbers of all that stand, if any is gone since."""

    added: list[VoteRow]
    left: frozenset[int] | None


class CastVote(NamedTuple):
    """A vote as the operator sees it."""

    battle_id: str
    left: str
    right: str
    created_at: datetime
    facts: bytes
