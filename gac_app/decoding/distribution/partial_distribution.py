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
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch

from gac_app.decoding.distribution.token_distribution import BoundsU, TokenDistribution
from gac_app.errors import MemberError
from gac_app.vocab.mapping import VocabMapping

MORE = 1024  # tokens, at the second question
_ROUNDING = 1e-5  # of the sum of probabilities that a server computes in float32
_IMPOSSIBLE = -1e4  # a logit
_LEAST = 1e-9  # in place of 0, by which nothing can be divided

Told = tuple[list[int], list[float], float]  # own ids, their log-probabilities, and the most of any other token


class Ask(Protocol):
    """Asks for more of one distribution."""

    def more(self, num: int) -> Told:
        """The `num` likeliest tokens; fewer, or none, where no more are told."""

    def about(self, wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        """The log-probabilities of some own ids; None = the server cannot tell, or not of so many.

        Args:
            known: a likely token's id and log-probability.
        """


class PartialDistribution(TokenDistribution):
    """See the module.

    Args:
        ask: for more of the same distribution.
    """

    def __init__(self, mapping: VocabMapping, told: Told, ask: Ask) -> None:
        super().__init__(None)
        self._mapping, self._ask = mapping, ask
        self._has_more = True
        self._size = len(mapping.vocabulary)
        self._num_top = len(told[0])
        self._missing = 0.0
        self.is_whole = False
        self._learn(told)

    @property
    def num_told(self) -> int:
        return len(self._told[0])

    @property
    def missing(self) -> float:
        return self._missing

    @property
    def unseen_mass(self) -> float:
        return 0.0 if self.is_whole else self._unseen_mass

    @property
    def bounds_U(self) -> BoundsU:
        return super().bounds_U if self.is_whole else self._bounds_U

    @property
    def probs_U(self) -> torch.Tensor:
        if not self.is_whole:
            self._tell(self._size)
        if not self.is_whole:
            self._missing, self._probs_U, self.is_whole = self._unseen_mass, self.estimate.probs_U, True
        return super().probs_U

    def fetch_more(self) -> bool:
        before = self._num_top
        if not self.is_whole:
            self._tell(min(MORE, self._size) if before < MORE else self._size)
        return self._num_top > before

    def fetch_logprobs(self, ids: Iterable[int]) -> bool:
        if self.is_whole or not (wanted := self._unknown(ids)):
            return False
        known, logprobs, most = self._told
        with self._failures_named():
            told = self._ask.about(wanted, (known[0], logprobs[0])) if known else None
        if told is None:
            return False
        self._learn(([*known, *wanted], [*logprobs, *told], most))
        return True

    def _learn(self, told: Told) -> None:
        self._told = ids, logprobs, most = told
        if len(ids) >= self._size:
            logits_1V = torch.full((1, self._size), _IMPOSSIBLE)
            logits_1V[0, ids] = torch.tensor(logprobs)
            self._probs_U, self.is_whole = self._mapping.project(logits_1V)[0], True
            return
        probs_K, counts_U = np.exp(logprobs), self._mapping.counts_U
        left = min(1.0, max(0.0, 1 - float(probs_K.sum())) + _ROUNDING)
        most = min(math.exp(most), left)
        union_ids_K = self._mapping.union_ids_V[ids]
        is_text_K = union_ids_K >= 0
        told_U, untold_U = np.zeros_like(counts_U), counts_U.copy()
        np.add.at(told_U, union_ids_K[is_text_K], probs_K[is_text_K])
        np.subtract.at(untold_U, union_ids_K[is_text_K], 1)
        control = float(probs_K[~is_text_K].sum())
        num_control_left = self._size - float(counts_U.sum()) - np.count_nonzero(~is_text_K)
        most_control = control + min(left, num_control_left * most)
        low_U = told_U / np.float32(max(_LEAST, 1 - control))
        high_U = (told_U + np.minimum(untold_U * np.float32(most), left)) / np.float32(max(_LEAST, 1 - most_control))
        self._bounds_U = torch.from_numpy(low_U), torch.from_numpy(np.minimum(high_U, 1))
        self._unseen_mass = max(0.0, 1 - float(low_U.sum())) + _ROUNDING

    def _tell(self, num: int) -> None:
        """Ask for the `num` likeliest tokens."""
        if not self._has_more:
            return
        with self._failures_named():
            ids, logprobs, most = self._ask.more(num)
        self._has_more = len(ids) >= num
        if len(ids) > self._num_top:
            self._num_top, again = len(ids), set(ids)
            single = {own: prob for own, prob in zip(*self._told[:2], strict=True) if own not in again}
            self._learn(([*ids, *single], [*logprobs, *single.values()], most))

    def _unknown(self, ids: Iterable[int]) -> list[int]:
        """The own ids of these tokens, and of control tokens, that were not told."""
        is_wanted_U = np.zeros(len(self._mapping.union) + 1, bool)
        is_wanted_U[[*ids, -1]] = True  # control tokens map to -1
        is_wanted_V = is_wanted_U[self._mapping.union_ids_V]
        is_wanted_V[self._told[0]] = False
        wanted: list[int] = np.flatnonzero(is_wanted_V).tolist()
        return wanted

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except MemberError as error:
            raise MemberError(self.member or error.member, error.kind, error.message) from error
