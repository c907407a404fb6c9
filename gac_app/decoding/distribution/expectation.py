"""What a member says at a step: its distribution, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass

from gac_app.decoding.distribution.token_distribution import TokenDistribution


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a member taking part in a step expects next.

    Attributes:
        row: its distribution.
        num_read: ids read for it; 0 where the member needed no forward pass.
        seconds: of the forward pass, shared with what was batched into it.
    """

    row: TokenDistribution
    num_read: int
    seconds: float

    @property
    def argmax_id(self) -> int:
        """The likeliest token."""
        return self.row.argmax_id

    def top_k(self, num: int) -> list[tuple[int, float]]:
        """Its `num` likeliest tokens that have a probability, with it, likeliest first; as many as are known."""
        return [pair for pair in self.row.top[:num] if pair[1] > 0]

    def rank_of(self, token_id: int) -> int:
        """How many tokens are likelier, plus 1."""
        known = dict(self.row.top)
        if token_id not in known:
            return self.row.rank_of(token_id)
        return 1 + sum(prob > known[token_id] for prob in known.values())
