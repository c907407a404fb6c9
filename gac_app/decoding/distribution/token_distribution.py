"""A member's next-token distribution, over the union.

Shape suffixes: `U` the union vocabulary, `C` a few of its ids, `B` ranges of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from functools import cached_property
from itertools import accumulate
from typing import Self

import numpy as np
import torch

from gac_app.decoding.distribution.ranking import rank_of, top_k
from gac_app.vocab.mapping import FloatV, ProbsC

_MANY = 256  # tokens that may be likely
NUM_TOP = 16  # this many of each member mostly suffice to find the argmax of their mean

Top = list[tuple[int, float]]  # union ids and their probabilities, likeliest first
Cut = tuple[float, float]  # of a range of tokens: `ends_at` of its first, and the probability of all
Bounds = tuple[float, float]  # a number's least and largest value
CutBounds = tuple[Bounds, Bounds]  # of a range of tokens: `ends_at` of its first, and the probability of the others


class TokenDistribution:
    """A distribution over the union.

    Args:
        probs_U: by union id, summing to 1; None = a subclass finds them when they are needed.
        log_probs_U: the logarithms, where they are known better than from `probs_U`.

    Attributes:
        partial_ids: union tokens that stand for longer strings, which are no union tokens -> the part of the token's
            probability that belongs to those strings.
        member: who is asked for more of it, where a server computes it; a view is another one than its base.
        num_told: tokens whose probabilities a server told; 0 = the model was computed here.
        missing: the probability that a server did not divide among tokens, so that a guess was used.
    """

    member = ""
    num_told = 0
    missing = 0.0

    def __init__(
        self,
        probs_U: torch.Tensor | None,
        partial_ids: dict[int, float] | None = None,
        log_probs_U: torch.Tensor | None = None,
    ) -> None:
        self.partial_ids = partial_ids or {}
        self._probs_U = probs_U
        self._log_probs_U = log_probs_U
        self._cuts: dict[range, Cut] = {}

    def made_of(self, others: SequenceOf[TokenDistribution]) -> Self:
        """Take over how much of what it was computed from a server told."""
        self.num_told = max(self.num_told, *(d.num_told for d in others))
        self.missing = max(self.missing, *(d.missing for d in others))
        return self

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

    @property
    def argmax_id(self) -> int:
        """The likeliest token, the first one of equals."""
        first, most = self.top[0]
        return min((token_id for token_id, prob in self.top if prob == most), default=first)

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
        tempered = TokenDistribution(powers_U / total)
        tempered.top = [(token_id, (prob / most) ** (1 / temperature) / total) for token_id, prob in self.top]
        return tempered

    def masked(self, mask_U: torch.Tensor) -> TokenDistribution:
        """What it gives to the tokens whose mask is 1; the others get nothing, and the sum is less than 1."""
        partial_ids = {token_id: prob for token_id, prob in self.partial_ids.items() if mask_U[token_id]}
        return TokenDistribution(self.probs_U * mask_U.to(self.device), partial_ids)

    # --- what is known without asking; see `ToldDistribution`

    @property
    def is_whole(self) -> bool:
        """Whether all probabilities are known, or nobody can tell more."""
        return True

    @property
    def doubt(self) -> float:
        """The probability of all tokens that are not known one by one."""
        return 0.0

    @property
    def bounds_U(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Between these is `probs_U`."""
        return self.probs_U, self.probs_U

    @property
    def estimate(self) -> TokenDistribution:
        """A guess where it is not whole."""
        return self

    def widen(self) -> bool:
        """Ask for more tokens. Returns whether more are known now. Raises MemberError."""
        return False

    def know(self, ids: Iterable[int]) -> bool:
        """Ask about these tokens. Returns whether more is known now. Raises MemberError."""
        return False

    def bounded_cuts(self, ranges: SequenceOf[range]) -> list[CutBounds]:
        """Lower and upper bounds of `cuts`."""
        parts = [(ends, max(0.0, total - ends)) for ends, total in self.cuts(ranges)]
        return [((ends, ends), (beyond, beyond)) for ends, beyond in parts]

    def likely(self, num: int, least: float) -> tuple[set[int], set[int]] | None:
        """Of its `num` likeliest tokens, those with a probability of at least `least`: which surely are, and which may
        be. None = unknown tokens may be.
        """
        if not self.is_whole:
            low_U, high_U = self.bounds_U
            return _likely_within(low_U.numpy(), high_U.numpy(), num, least)
        ids = {token_id for token_id, prob in self.top_k(num) if prob >= least}
        return ids, ids

    def extremes(self) -> tuple[TokenDistribution, TokenDistribution] | None:
        """Two distributions between which the two likeliest tokens' probabilities are; None = which tokens these are is
        uncertain.
        """
        return self, self

    # ---

    @property
    def device(self) -> torch.device:
        return self.probs_U.device

    @property
    def is_on_cpu(self) -> bool:
        """Whether single values are cheap to read."""
        return self.device.type == "cpu"

    def at(self, ids: list[int]) -> ProbsC:
        """Single probabilities, in one transfer from the device, or none if they are in `top`."""
        found: ProbsC
        if self.is_on_cpu:
            found = self.probs_U.numpy()[ids]
        elif (known := dict(self.top)).keys() >= set(ids):
            found = np.array([known[token_id] for token_id in ids], np.float32)
        else:
            found = self.probs_U[torch.tensor(ids, device=self.device)].cpu().numpy()
        return found

    def within(self, ids: range) -> torch.Tensor:
        """The probabilities of consecutive ids."""
        return torch.from_numpy(self._values([ids])) if self.is_on_cpu else self.probs_U[ids.start : ids.stop]

    def prob_of(self, token_id: int) -> float:
        """The probability of one token."""
        return float(self.at([token_id])[0])

    def top_k(self, num: int) -> Top:
        """Up to `num` of its likeliest tokens with their probabilities above 0, likeliest first."""
        return [pair for pair in self.top[:num] if pair[1] > 0]

    def rank_of(self, token_id: int) -> int:
        """The number of likelier tokens, plus 1."""
        known = dict(self.top)
        if token_id in known:
            return 1 + sum(prob > known[token_id] for prob in known.values())
        return rank_of(token_id, self.probs_U)

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right after this token."""
        return self.prob_of(token_id) - self.partial_ids.get(token_id, 0.0)

    def cuts(self, ranges: SequenceOf[range]) -> list[Cut]:
        """The cut of each range of tokens; no range may be empty."""
        if new := [ids for ids in ranges if ids not in self._cuts]:
            self._cuts.update(zip(new, self._cuts_of(new), strict=True))
        return [self._cuts[ids] for ids in ranges]

    def _cuts_of(self, ranges: SequenceOf[range]) -> Iterator[Cut]:
        if self.is_on_cpu:
            probs, starts = self._values(ranges), list(accumulate(map(len, ranges[:-1]), initial=0))
            firsts, sums = probs[starts].tolist(), np.add.reduceat(probs, starts).tolist()
        else:  # one transfer from the device
            total_U = torch.cat([self.probs_U.new_zeros(1, dtype=torch.float64), self.probs_U.double().cumsum(0)])
            bounds = torch.tensor([(ids.start, ids.stop) for ids in ranges], device=total_U.device)
            sums_B = total_U[bounds[:, 1]] - total_U[bounds[:, 0]]
            firsts, sums = torch.stack([self.probs_U[bounds[:, 0]].double(), sums_B]).tolist()
        for ids, prob, total in zip(ranges, firsts, sums, strict=True):
            yield prob - self.partial_ids.get(ids.start, 0.0), total

    def prob_within(self, ids: range) -> float:
        """The probability of a range of tokens, which may not be empty."""
        return self.cuts([ids])[0][1]

    def _values(self, ranges: SequenceOf[range]) -> ProbsC:
        """The probabilities of these tokens, range after range; on a CPU only."""
        probs = self.probs_U.numpy()
        return np.concatenate([probs[ids.start : ids.stop] for ids in ranges])


def _likely_within(low_U: FloatV, high_U: FloatV, num: int, least: float) -> tuple[set[int], set[int]] | None:
    """See `TokenDistribution.likely`, where probabilities are between these."""
    num = min(num, len(low_U))
    ids_K = np.flatnonzero(high_U >= max(least, np.partition(low_U, -num)[-num]))
    if len(ids_K) > _MANY:
        return None
    low_K, high_K = low_U[ids_K], high_U[ids_K]
    num_surely_above_K = (low_K > high_K[:, None]).sum(1)
    num_maybe_above_K = (high_K >= low_K[:, None]).sum(1) - 1  # without itself
    is_K = (low_K >= least) & (num_maybe_above_K < num)
    return set(ids_K[is_K].tolist()), set(ids_K[num_surely_above_K < num].tolist())
