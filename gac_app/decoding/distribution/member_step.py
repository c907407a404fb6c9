"""What a member contributes to a step: its distribution, and what that cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gac_app.decoding.distribution.read_result import ReadResult
from gac_app.decoding.distribution.token_distribution import TokenDistribution


class MemberStep(Protocol):
    """The next-token distribution of a member that takes part in a step, and its cost."""

    @property
    def distribution(self) -> TokenDistribution:
        """Over the union."""

    @property
    def num_read(self) -> int:
        """Ids read for it; 0 where the member needed no forward pass."""

    @property
    def seconds(self) -> float:
        """Of the forward pass, shared with what was batched into it."""

    @property
    def argmax_id(self) -> int:
        """The likeliest token."""
        return self.distribution.top[0][0]

    def top_k(self, num: int) -> list[tuple[int, float]]:
        """Its `num` likeliest tokens that have a probability, with it, likeliest first; as many as are known."""
        return [pair for pair in self.distribution.top[:num] if pair[1] > 0]

    def rank_of(self, token_id: int) -> int:
        """How many tokens are likelier, plus 1."""
        known = dict(self.distribution.top)
        if token_id not in known:
            return self.distribution.rank_of(token_id)
        return 1 + sum(prob > known[token_id] for prob in known.values())


@dataclass(frozen=True, slots=True)
class ComputedStep(MemberStep):
    """A step whose values are known."""

    distribution: TokenDistribution
    num_read: int
    seconds: float


class LazyStep(MemberStep):
    """The last position of a read. A lazy result tells its argmax at once and projects the rest on first access."""

    def __init__(self, result: ReadResult) -> None:
        self._result = result

    @property
    def argmax_id(self) -> int:
        return self._result.last_argmax

    @property
    def distribution(self) -> TokenDistribution:
        return self._result.distributions[-1]

    @property
    def num_read(self) -> int:
        return self._result.num_read

    @property
    def seconds(self) -> float:
        return self._result.seconds
