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
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import torch

from gac_app.decoding.distribution.ranking import top_k
from gac_app.vocab.mapping import ProbsC

CLEARLY = 1.0001  # times as likely: more than rounding errors between equal values
NUM_TOP = 16  # this many of each member mostly suffice to find the argmax of their mean
_MANY = 256  # tokens that may be likely

Top = list[tuple[int, float]]  # union ids and their probabilities, likeliest first
PrefixMass = tuple[float, float]  # of tokens that begin alike: `ends_at` of the first, the probability of all
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
        self._prefix_masses: dict[range, PrefixMass] = {}

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
        share = (1 - low_U.sum()) / room_U.sum().clamp_min(1e-30)
        return TokenDistribution(low_U + room_U * share, self.partial_ids, parts=[self])

    def fetch_logprobs(self, ids: Iterable[int]) -> bool:
        """Ask about these tokens. Returns whether more is known now. Raises MemberError."""
        return False

    def fetch_more(self) -> bool:
        """Ask for more of the likeliest tokens. Returns whether more are known now. Raises MemberError."""
        return False

    def prefix_mass_bounds(self, ranges: Sequence[range]) -> tuple[BoundsB, BoundsB]:
        """Of each range of tokens: bounds on `ends_at` of its first, and on what goes on beyond that."""
        if self.is_whole or not ranges:
            ends_B, totals_B = np.array(self.prefix_masses(ranges)).reshape(-1, 2).T
            beyond_B = np.maximum(0, totals_B - ends_B)
            return (ends_B, ends_B), (beyond_B, beyond_B)
        starts = _starts(ranges)
        values = [np.concatenate([bound_U.numpy()[r.start : r.stop] for r in ranges]) for bound_U in self.bounds_U]
        partial_B = np.array([self.partial_ids.get(ids.start, 0.0) for ids in ranges])
        low, high = [each[starts] - partial_B for each in values]
        least, most = [np.maximum(0, np.add.reduceat(each, starts) - each[starts]) + partial_B for each in values]
        most = np.minimum(most, least + self.unseen_mass)
        return (low / CLEARLY, high * CLEARLY), (least / CLEARLY, most * CLEARLY)

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

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return math.isfinite(self.top[0][1])

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
        return TokenDistribution(self.probs_U * mask_U.to(self.device), partial_ids)

    @property
    def device(self) -> torch.device:
        return self.probs_U.device

    def at(self, ids: list[int]) -> ProbsC:
        """Single probabilities, in one transfer from the device, or none if they are in `top`."""
        found: ProbsC
        if not self.is_whole:
            self.fetch_logprobs(ids)
            found, most_C = (bound_U.numpy()[ids] for bound_U in self.bounds_U)
            if (found == most_C).all():
                return found
        probs_U = self.probs_U
        if probs_U.is_cpu:
            found = probs_U.numpy()[ids]
        elif (known := dict(self.top)).keys() >= set(ids):
            found = np.array([known[token_id] for token_id in ids], np.float32)
        else:
            found = probs_U[torch.tensor(ids, device=probs_U.device)].cpu().numpy()
        return found

    def within(self, ids: range) -> torch.Tensor:
        """The probabilities of consecutive ids."""
        return self.probs_U[ids.start : ids.stop] if self.is_whole else torch.from_numpy(self.at(list(ids)))

    def prob_of(self, token_id: int) -> float:
        """The probability of one token."""
        return float(self.at([token_id])[0])

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right after this token."""
        return self.prob_of(token_id) - self.partial_ids.get(token_id, 0.0)

    def prob_within(self, ids: range) -> float:
        """The probability of a range of tokens, which may not be empty."""
        return self.prefix_masses([ids])[0][1]

    def prefix_masses(self, ranges: Sequence[range]) -> list[PrefixMass]:
        """The mass of each range of tokens; no range may be empty."""
        masses = self._prefix_masses
        if not ranges:
            return []
        if new := [ids for ids in ranges if ids not in masses]:
            for ids, prob, total in zip(new, *self._firsts_and_sums(new), strict=True):
                masses[ids] = prob - self.partial_ids.get(ids.start, 0.0), total
        return [masses[ids] for ids in ranges]

    def _firsts_and_sums(self, ranges: Sequence[range]) -> tuple[list[float], list[float]]:
        probs_U = self.probs_U if self.is_whole else None
        if probs_U is None or probs_U.is_cpu:
            starts = _starts(ranges)
            if probs_U is None:
                values = self.at([token_id for ids in ranges for token_id in ids])
            else:
                values = np.concatenate([probs_U.numpy()[ids.start : ids.stop] for ids in ranges])
            return values[starts].tolist(), np.add.reduceat(values, starts).tolist()
        # one transfer from the device
        total_U = torch.cat([probs_U.new_zeros(1, dtype=torch.float64), probs_U.double().cumsum(0)])
        bounds = torch.tensor([(ids.start, ids.stop) for ids in ranges], device=total_U.device)
        sums_B = total_U[bounds[:, 1]] - total_U[bounds[:, 0]]
        firsts, sums = torch.stack([probs_U[bounds[:, 0]].double(), sums_B]).tolist()
        return firsts, sums


def _starts(ranges: Sequence[range]) -> list[int]:
    """Where each range begins among the values of all, range after range."""
    return list(accumulate(map(len, ranges[:-1]), initial=0))
