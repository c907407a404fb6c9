"""A member's next-token distribution, over the union: of each token's probability, a lower and an upper bound.

The bounds are equal where the member runs here. Where a server told only the likeliest tokens, they are not (see
`PartialDistribution`): whatever is proven from the bounds needs no question, and what is not can be asked for.

Shape suffixes: `U` the union vocabulary, `C` a few of its ids, `B` ranges of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from gac_app.decoding.distribution.ranking import firsts_and_sums, top_k, values_at
from gac_app.vocab.mapping import ProbsC

CLEARLY = 1.0001  # times as likely: more than rounding errors between equal values
NUM_TOP = 16  # this many of each member mostly suffice to find the argmax of their mean
_MANY = 256  # tokens that may be likely

Top = list[tuple[int, float]]  # union ids and their probabilities, likeliest first
BoundsU = tuple[torch.Tensor, torch.Tensor]  # at least, at most; by union id
BoundsB = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # the same, by range of tokens


class TokenDistribution:
    """A distribution over the union.

    Args:
        probs_U: by union id, summing to 1; None = a subclass finds them when they are needed.
        partial_ids: union tokens that stand for longer strings, which are no union tokens -> the part of the token's
            probability that belongs to those strings.
        log_probs_U: the logarithms, where they are known better than from `probs_U`.
        parts: the distributions that it was computed from.

    Attributes:
        member: who is asked for more of it, where a server computes it; a view is another one than its base.
        is_whole: all probabilities are known, or nobody can tell more.
    """

    member = ""
    is_whole = True

    def __init__(
        self,
        probs_U: torch.Tensor | None,
        partial_ids: dict[int, float] | None = None,
        log_probs_U: torch.Tensor | None = None,
        parts: Sequence[TokenDistribution] = (),
    ) -> None:
        self.partial_ids = partial_ids or {}
        self._probs_U = probs_U
        self._log_probs_U = log_probs_U
        self._parts = parts

    @property
    def num_told(self) -> int:
        """Tokens whose probabilities a server told; 0 = the model was computed here."""
        return max((part.num_told for part in self._parts), default=0)

    @property
    def missing(self) -> float:
        """The probability that a server did not divide among tokens, so that a guess was used."""
        return max((part.missing for part in self._parts), default=0.0)

    # --- bounds: what is known without asking

    @property
    def unseen_mass(self) -> float:
        """The most that all tokens together have beyond their lower bounds."""
        return 0.0

    @property
    def bounds_U(self) -> BoundsU:
        """Between these is `probs_U`; on the CPU where they differ."""
        return self.probs_U, self.probs_U

    @property
    def estimate(self) -> TokenDistribution:
        """A guess where it is not whole: all bounds are left behind in proportion."""
        if self.is_whole:
            return self
        low_U, high_U = self.bounds_U
        room_U = high_U - low_U
        part = (1 - low_U.sum()).clamp_min(0) / room_U.sum().clamp_min(1e-30)  # rounded, what is told may exceed 1
        return TokenDistribution(low_U + room_U * part, self.partial_ids, parts=[self])

    def fetch_logprobs(self, ids: Iterable[int]) -> bool:
        """Ask about these tokens. Returns whether more is known now. Raises MemberError."""
        return False

    def fetch_more(self) -> bool:
        """Ask for more of the likeliest tokens. Returns whether more are known now. Raises MemberError."""
        return False

    def prefix_mass_bounds(self, ranges: Sequence[range]) -> tuple[BoundsB, BoundsB]:
        """Of each range of tokens: bounds on `ends_at` of its first, and on what goes on beyond that."""
        slack = 1.0 if self.is_whole else CLEARLY
        partial_B = np.array([self.partial_ids.get(ids.start, 0.0) for ids in ranges])
        low_U, high_U = self.bounds_U
        low_B, low_sums_B = firsts_and_sums(low_U, ranges)
        high_B, high_sums_B = (low_B, low_sums_B) if high_U is low_U else firsts_and_sums(high_U, ranges)
        least_B = np.maximum(0, low_sums_B - low_B) + partial_B
        most_B = np.minimum(np.maximum(0, high_sums_B - high_B) + partial_B, least_B + self.unseen_mass)
        ends = (low_B - partial_B) / slack, (high_B - partial_B) * slack
        return ends, (least_B / slack, most_B * slack)

    def likely(self, num: int, least: float) -> tuple[set[int], set[int]] | None:
        """Of its `num` likeliest tokens, those with a probability of at least `least`: which surely are, and which may
        be. None = unknown tokens may be.
        """
        if self.is_whole:
            ids = {token_id for token_id, prob in self.top_k(num) if prob >= least}
            return ids, ids
        low_U, high_U = (bound_U.numpy() for bound_U in self.bounds_U)
        num = min(num, len(low_U))
        ids_C = np.flatnonzero(high_U >= max(least, np.partition(low_U, -num)[-num]))
        if len(ids_C) > _MANY:
            return None
        low_C, high_C = low_U[ids_C], high_U[ids_C]
        num_surely_above_C = (low_C > high_C[:, None]).sum(1)
        num_maybe_above_C = (high_C >= low_C[:, None]).sum(1) - 1  # without itself
        is_C = (low_C >= least) & (num_maybe_above_C < num)
        return set(ids_C[is_C].tolist()), set(ids_C[num_surely_above_C < num].tolist())

    def top2_bounds(self) -> tuple[TokenDistribution, TokenDistribution] | None:
        """Two distributions between which the two likeliest tokens' probabilities are, in proportion; None = which
        tokens these are is uncertain, or their proportion.
        """
        if self.is_whole:
            return self, self
        low_U, high_U = self.bounds_U
        (first, low), (second, low_second) = top_k(low_U, 2)
        high, high_second = high_U[[first, second]].tolist()
        are_surely_first = int((high_U > low_second).sum()) == (high > low_second) + (high_second > low_second)
        if not are_surely_first or not math.isclose(high * low_second, high_second * low, rel_tol=1e-6):
            return None
        return self._with_top([(first, low), (second, low_second)]), self._with_top(
            [(first, high), (second, high_second)]
        )

    def _with_top(self, top: Top) -> TokenDistribution:
        changed = copy(self)
        changed.top = top
        return changed

    # --- whole: what is not known is asked for, which may raise MemberError

    @property
    def probs_U(self) -> torch.Tensor:
        """By union id, summing to 1."""
        assert self._probs_U is not None  # noqa: S101 (it was given)
        return self._probs_U

    @property
    def log_probs_U(self) -> torch.Tensor:
        """Natural logarithms of `probs_U`; -inf for what is impossible, or where only those are known."""
        return self.probs_U.log() if self._log_probs_U is None else self._log_probs_U

    def log_prob_of(self, token_id: int) -> float:
        """The natural logarithm of one token's probability."""
        return float(self.log_probs_U[token_id])

    @cached_property
    def top(self) -> Top:
        """The likeliest tokens: `NUM_TOP`, or as many as there are. Some may have probability 0."""
        return top_k(self.probs_U, NUM_TOP)

    def top_k(self, num: int) -> Top:
        """Up to `num` of its likeliest tokens with their probabilities above 0, likeliest first."""
        return [pair for pair in self.top[:num] if pair[1] > 0]

    @property
    def argmax_id(self) -> int:
        """The likeliest token, the first one of equals; of the estimate, where it is not whole."""
        top = self.estimate.top
        first, most = top[0]
        return min((token_id for token_id, prob in top if prob == most), default=first)

    @cached_property
    def entropy(self) -> float:
        """In nats."""
        return float(torch.special.entr(self.probs_U).sum())

    def tempered(self, temperature: float) -> TokenDistribution:
        """The distribution with its logits divided by `temperature`."""
        most = self.top[0][1]
        powers_U = (self.probs_U / most) ** (1 / temperature)
        total = float(powers_U.sum())
        top = [(token_id, (prob / most) ** (1 / temperature) / total) for token_id, prob in self.top]
        return TokenDistribution(powers_U / total)._with_top(top)

    def masked(self, mask_U: torch.Tensor | None) -> TokenDistribution:
        """What it gives to the tokens whose mask is 1; the others get nothing, and the sum is less than 1. None = as
        it is.
        """
        if mask_U is None:
            return self
        partial_ids = {token_id: prob for token_id, prob in self.partial_ids.items() if mask_U[token_id]}
        return TokenDistribution(self.probs_U * mask_U.to(self.probs_U.device), partial_ids)

    def _exact_U(self, ids: Sequence[int]) -> torch.Tensor:
        """By union id, exact for these ids, where it is not whole."""
        self.fetch_logprobs(ids)
        low_U, high_U = self.bounds_U
        return low_U if (low_U.numpy()[ids] == high_U.numpy()[ids]).all() else self.probs_U

    def at(self, ids: Sequence[int]) -> ProbsC:
        """Single probabilities, in one transfer from the device, or none if they are in `top`."""
        probs_U = self.probs_U if self.is_whole else self._exact_U(ids)
        found: ProbsC
        if probs_U.is_cpu:
            found = probs_U.numpy()[ids]
        elif (known := dict(self.top)).keys() >= set(ids):
            found = np.array([known[token_id] for token_id in ids], np.float32)
        else:
            found = values_at(probs_U, ids).numpy()
        return found

    def within(self, ids: range) -> torch.Tensor:
        """The probabilities of consecutive ids."""
        return (self.probs_U if self.is_whole else self._exact_U(ids))[ids.start : ids.stop]

    def prob_of(self, token_id: int) -> float:
        """The probability of one token."""
        return float(self.at([token_id])[0])

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right after this token."""
        return self.prob_of(token_id) - self.partial_ids.get(token_id, 0.0)

    def probs_within(self, ranges: Sequence[range]) -> list[float]:
        """The probability of each range of tokens, none of which may be empty."""
        if not ranges:
            return []
        probs_U = self.probs_U if self.is_whole else self._exact_U([*chain.from_iterable(ranges)])
        sums: list[float] = firsts_and_sums(probs_U, ranges)[1].tolist()
        return sums

    def prob_within(self, ids: range) -> float:
        """The probability of a range of tokens, which may not be empty."""
        return self.probs_within([ids])[0]
