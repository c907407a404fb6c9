"""What a member contributes to a step: its distribution, and its cost."""

from __future__ import annotations

from dataclasses import dataclass

from gac_app.decoding.distribution.token_distribution import TokenDistribution


@dataclass(frozen=True, slots=True)
class MemberStep:
    """The next-token distribution of a member that takes part in a step, and its cost.

    Attributes:
        distribution: over the union.
        num_read: ids read for it; 0 where the member needed no forward pass.
        seconds: of the forward pass, which other sequences may have shared.
    """

    distribution: TokenDistribution
    num_read: int
    seconds: float

    @property
    def argmax_id(self) -> int:
        """The likeliest token."""
        return self.distribution.argmax_id

    def top_k(self, num: int) -> list[tuple[int, float]]:
        """Up to `num` of its likeliest tokens with their probabilities above 0, likeliest first."""
        return [pair for pair in self.distribution.top[:num] if pair[1] > 0]

    def rank_of(self, token_id: int) -> int:
        """The number of likelier tokens, plus 1."""
        known = dict(self.distribution.top)
        if token_id not in known:
            return self.distribution.rank_of(token_id)
        return 1 + sum(prob > known[token_id] for prob in known.values())
