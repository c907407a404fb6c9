"""What leads a distribution, told from a few of its values and a bound on all others: mostly enough, and a thousand
times fewer numbers.

Shape suffix: `C` candidates, the values that are looked at.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CLEARLY = 1.0001  # times as likely: more than rounding could make of equals

FloatC = npt.NDArray[np.float64]


class Leading:
    """Some of a distribution's values.

    Attributes:
        probs_C: of the candidates.
        most_beside: no other token has more.
    """

    def __init__(self, ids: list[int], probs_C: FloatC, most_beside: float) -> None:
        """`ids` are those of the candidates, ascending."""
        self.probs_C = probs_C
        self.most_beside = most_beside
        self._probs = dict(zip(ids, probs_C.tolist(), strict=True))

    @property
    def favourite_id(self) -> int | None:
        """The likeliest token; None where that is not clear."""
        best = max(self._probs, key=self._probs.__getitem__)
        rivals = (prob for token_id, prob in self._probs.items() if token_id != best)
        return best if self._probs[best] > _CLEARLY * max(self.most_beside, *rivals, 0.0) else None

    def prob_of(self, token_id: int) -> float | None:
        """None where it is no candidate."""
        return self._probs.get(token_id)

    def rank_of(self, token_id: int) -> int | None:
        """How many tokens are likelier than this candidate, plus 1; None where others may be."""
        prob = self._probs.get(token_id, -1.0)
        return 1 + sum(other > prob for other in self._probs.values()) if prob >= self.most_beside else None

    def largest(self, k: int) -> list[tuple[int, float]] | None:
        """The `k` likeliest tokens that have a probability, with it, likeliest first; None where others may be."""
        found = sorted((pair for pair in self._probs.items() if pair[1] > 0), key=lambda pair: -pair[1])[:k]
        is_told = found[-1][1] >= self.most_beside if len(found) == k else self.most_beside == 0
        return found if is_told else None
