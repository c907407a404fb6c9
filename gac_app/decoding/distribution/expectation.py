"""What a member says at a step: its distribution, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gac_app.decoding.distribution.reading import Reading
from gac_app.decoding.distribution.token_distribution import TokenDistribution


class Expectation(Protocol):
    """What a member taking part in a step expects next."""

    @property
    def row(self) -> TokenDistribution:
        """Its distribution."""

    @property
    def num_read(self) -> int:
        """Ids read for it; 0 where the member needed no forward pass."""

    @property
    def seconds(self) -> float:
        """Of the forward pass, shared with what was batched into it."""

    @property
    def argmax_id(self) -> int:
        """The likeliest token."""
        return self.row.top[0][0]

    def top_k(self, num: int) -> list[tuple[int, float]]:
        """Its `num` likeliest tokens that have a probability, with it, likeliest first; as many as are known."""
        return [pair for pair in self.row.top[:num] if pair[1] > 0]

    def rank_of(self, token_id: int) -> int:
        """How many tokens are likelier, plus 1."""
        known = dict(self.row.top)
        if token_id not in known:
            return self.row.rank_of(token_id)
        return 1 + sum(prob > known[token_id] for prob in known.values())


@dataclass(frozen=True, slots=True)
class KnownExpectation(Expectation):
    """One whose values are there."""

    row: TokenDistribution
    num_read: int
    seconds: float


class ReadExpectation(Expectation):
    """What a reading says at its last position. Of a lazy one only the argmax is there until more is looked at."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    @property
    def argmax_id(self) -> int:
        return self._reading.last_argmax

    @property
    def row(self) -> TokenDistribution:
        return self._reading.rows[-1]

    @property
    def num_read(self) -> int:
        return self._reading.num_read

    @property
    def seconds(self) -> float:
        return self._reading.seconds
