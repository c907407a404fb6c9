"""The likeliest tokens of a distribution, from a few of its values and an upper bound on all others.

Mostly that suffices, with a thousandth of the distribution's values.
"""

from __future__ import annotations

CLEARLY = 1.0001  # times as likely: more than rounding errors between equal values


class TopKBounds:
    """Some of a distribution's values, the *candidates*, and a bound on the others.

    Attributes:
        probs: of the candidates, by ascending id.
        most_beside: an upper bound on every other token's probability.
    """

    def __init__(self, probs: dict[int, float], most_beside: float) -> None:
        self.probs = probs
        self.most_beside = most_beside

    @property
    def argmax_id(self) -> int | None:
        """The likeliest token; None if that is uncertain."""
        best = max(self.probs, key=self.probs.__getitem__)
        others = (prob for token_id, prob in self.probs.items() if token_id != best)
        return best if self.probs[best] > CLEARLY * max(self.most_beside, *others, 0.0) else None

    def prob_of(self, token_id: int) -> float | None:
        """The token's probability; None if it is no candidate."""
        return self.probs.get(token_id)

    def rank_of(self, token_id: int) -> int | None:
        """The number of tokens likelier than this candidate, plus 1; None if uncertain."""
        prob = self.probs.get(token_id, -1.0)
        return 1 + sum(other > prob for other in self.probs.values()) if prob >= self.most_beside else None

    def largest(self, k: int) -> list[tuple[int, float]] | None:
        """The `k` likeliest tokens with their probabilities above 0, likeliest first; None if uncertain."""
        found = sorted((pair for pair in self.probs.items() if pair[1] > 0), key=lambda pair: -pair[1])[:k]
        is_known = found[-1][1] >= self.most_beside if len(found) == k else self.most_beside == 0
        return found if is_known else None
