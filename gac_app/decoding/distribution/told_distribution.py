"""A distribution of which an inference server told the likeliest tokens.

Each of the others is at most as likely as the least likely one told, and all of them together as what is left. Mostly
these bounds prove what a step chooses. Where they do not, the server is asked about the tokens in doubt. Where it
cannot tell of single tokens, or these are too many, it is asked for `MORE` tokens, then for all.

Control tokens have no place in the union, so that all others count a little more. Where some control tokens were not
told, it is not known how much more. So even the tokens told have bounds.

Shape suffixes: `U` the union vocabulary, `V` a member's own, `K` the tokens told, likeliest first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import numpy as np
import torch

from gac_app.decoding.distribution.token_distribution import CutBounds, TokenDistribution
from gac_app.decoding.distribution.top_k_bounds import CLEARLY
from gac_app.errors import MemberError
from gac_app.vocab.mapping import FloatV, ProbsC, VocabMapping
from gac_app.vocab.union import IdsV

MORE = 1024  # tokens, at the second question
_ROUNDING = 1e-5  # of the sum of probabilities that a server computes in float32
_IMPOSSIBLE = -1e4  # a logit
_LEAST = 1e-9  # in place of 0, by which nothing can be divided

Told = tuple[list[int], list[float], float]  # own ids, their log-probabilities, and the most of any other token
Ranking = tuple[IdsV, FloatV, FloatV, float]  # union ids, what each has at least and at most, any other at most


class Ask(Protocol):
    """Asks for more of one distribution."""

    def more(self, num: int) -> Told:
        """The `num` likeliest tokens; fewer, or none, where no more are told."""

    def about(self, wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        """The log-probabilities of some own ids; None = the server cannot tell, or not of so many.

        Args:
            known: a likely token's id and log-probability.
        """


class ToldDistribution(TokenDistribution):
    """See the module. Whatever the class does not bound is asked for on first access, which may raise MemberError.

    Args:
        ask: for more of the same distribution.
    """

    def __init__(self, mapping: VocabMapping, told: Told, ask: Ask) -> None:
        super().__init__(None)
        self._mapping, self._ask = mapping, ask
        self._has_more = True
        self._size = len(mapping.vocabulary)
        self._num_top = len(told[0])
        self._learn(told)

    def _learn(self, told: Told) -> None:
        self._told = told
        ids, logprobs, most = told
        self.num_told = len(ids)
        self._forget()
        if self.num_told >= self._size:
            self._probs_U = self._projected(_IMPOSSIBLE)
            return
        probs_K, counts_U = np.exp(logprobs), self._mapping.counts_U
        self._left = min(1.0, max(0.0, 1 - float(probs_K.sum())) + _ROUNDING)
        self._most = min(math.exp(most), self._left)
        union_ids_K = self._mapping.union_ids_V[ids]
        is_text_K = union_ids_K >= 0
        text_K = union_ids_K[is_text_K]
        self._told_U, self._untold_U = np.zeros_like(counts_U), counts_U.copy()
        np.add.at(self._told_U, text_K, probs_K[is_text_K])
        np.subtract.at(self._untold_U, text_K, 1)
        self._told_ids = np.unique(text_K)
        control = float(probs_K[~is_text_K].sum())
        num_control_left = self._size - float(counts_U.sum()) - np.count_nonzero(~is_text_K)
        most_control = control + min(self._left, num_control_left * self._most)
        self._scales = 1 / max(_LEAST, 1 - control), 1 / max(_LEAST, 1 - most_control)

    def _forget(self) -> None:
        for name in ("bounds_U", "estimate", "_ranking"):
            self.__dict__.pop(name, None)

    def _projected(self, rest: float) -> torch.Tensor:
        """The probabilities in the union if each token that was not told had the log-probability `rest`."""
        ids, logprobs, _ = self._told
        logits_1V = torch.full((1, self._size), rest)
        logits_1V[0, ids] = torch.tensor(logprobs)
        return self._mapping.project(logits_1V)[0]

    def _tell(self, num: int) -> None:
        if self._has_more:
            with self._failures_named():
                ids, logprobs, most = self._ask.more(num)
            self._has_more = len(ids) >= num
            if len(ids) > self._num_top:
                self._num_top, new = len(ids), set(ids)
                before = [(own, logprob) for own, logprob in zip(*self._told[:2], strict=True) if own not in new]
                self._learn(
                    ([*ids, *(own for own, _ in before)], [*logprobs, *(logprob for _, logprob in before)], most)
                )

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except MemberError as error:
            raise MemberError(self.member or error.member, error.kind, error.message) from error

    def know(self, ids: Iterable[int]) -> bool:
        if self.is_whole or not (wanted := self._unknown(ids)):
            return False
        known, logprobs, most = self._told
        with self._failures_named():
            told = self._ask.about(wanted, (known[0], logprobs[0])) if known else None
        if told is None:
            return False
        self._learn(([*known, *wanted], [*logprobs, *told], most))
        return True

    def _unknown(self, ids: Iterable[int]) -> list[int]:
        """The own ids of these tokens, and of control tokens, that were not told."""
        is_wanted_U = np.zeros(len(self._told_U) + 1, bool)
        is_wanted_U[[*ids, -1]] = True  # control tokens map to -1
        is_wanted_V = is_wanted_U[self._mapping.union_ids_V]
        is_wanted_V[self._told[0]] = False
        wanted: list[int] = np.flatnonzero(is_wanted_V).tolist()
        return wanted

    def at(self, ids: list[int]) -> ProbsC:
        self.know(ids)
        if self.is_whole or self._unknown(ids):
            return super().at(ids)
        return self._told_U[ids] * np.float32(self._scales[0])

    def _values(self, ranges: SequenceOf[range]) -> ProbsC:
        if self.is_whole:
            return super()._values(ranges)
        return self.at([token_id for ids in ranges for token_id in ids])

    @property
    def probs_U(self) -> torch.Tensor:
        if not self.is_whole:
            self._tell(self._size)
        if not self.is_whole:
            self.missing = self._left
            self._probs_U = self.estimate.probs_U
            self._forget()
        return super().probs_U

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    # --- what is known without asking

    @property
    def is_whole(self) -> bool:
        return self._probs_U is not None

    @property
    def is_finite(self) -> bool:
        return True

    @property
    def doubt(self) -> float:
        return 0.0 if self.is_whole else self._left

    @cached_property
    def bounds_U(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.is_whole:
            return self.probs_U, self.probs_U
        low, high = self._scales
        most_U = np.minimum((self._told_U + self._extra(self._untold_U)) * high, 1)
        return torch.from_numpy(self._told_U * low), torch.from_numpy(most_U)

    @cached_property
    def estimate(self) -> TokenDistribution:
        """Tokens that were not told have equal shares of what is left."""
        if self.is_whole:
            return self
        rest = math.log(self._left / (self._size - self.num_told))
        return TokenDistribution(self._projected(rest))

    def widen(self) -> bool:
        before = self._num_top
        if not self.is_whole:
            self._tell(min(MORE, self._size) if before < MORE else self._size)
        return self._num_top > before

    @property
    def argmax_id(self) -> int:
        while not self.is_whole:
            ids_K, least_K, most_K, beside = self._ranking
            if len(ids_K) and least_K[0] > CLEARLY * most_K[1:].max(initial=beside):
                return int(ids_K[0])
            if not self.widen():
                break
        return super().argmax_id

    def bounded_cuts(self, ranges: SequenceOf[range]) -> list[CutBounds]:
        if self.is_whole or not ranges:
            return super().bounded_cuts(ranges)
        starts = list(accumulate(map(len, ranges[:-1]), initial=0))
        within = [
            np.concatenate([values_U[r.start : r.stop] for r in ranges]) for values_U in (self._told_U, self._untold_U)
        ]
        ends = [values[starts] for values in within]
        beyond = [np.add.reduceat(values, starts) - first for values, first in zip(within, ends, strict=True)]
        return list(zip(self._bounds(*ends), self._bounds(*beyond), strict=True))

    def _bounds(self, told: FloatV, untold: FloatV) -> list[tuple[float, float]]:
        low, high = self._scales
        return list(zip((told * low).tolist(), ((told + self._extra(untold)) * high).tolist(), strict=True))

    def extremes(self) -> tuple[TokenDistribution, TokenDistribution] | None:
        if self.is_whole:
            return self, self
        _, least_K, most_K, beside = self._ranking
        if len(least_K) < 2 or (least_K < most_K)[:2].any() or least_K[1] < most_K[2:].max(initial=beside):
            return None
        low, high = self._scales
        return self._scaled(low), self._scaled(high)

    def _scaled(self, scale: float) -> TokenDistribution:
        ids_K, least_K, _, _ = self._ranking
        scaled = copy(self)
        scaled.top = list(zip(ids_K[:2].tolist(), (least_K[:2] * scale).tolist(), strict=True))
        return scaled

    @cached_property
    def _ranking(self) -> Ranking:
        """Before the scale."""
        ids_K = self._told_ids[np.argsort(-self._told_U[self._told_ids], kind="stable")]
        least_K = self._told_U[ids_K]
        most_K: FloatV = least_K + self._extra(self._untold_U[ids_K])
        return ids_K, least_K, most_K, float(self._extra(self._untold_U.max()))

    def _extra(self, num_untold: FloatV) -> FloatV:
        """What so many tokens that were not told may have at most, together."""
        most: FloatV = np.minimum(num_untold * self._most, self._left)
        return most
