"""What a member expects next, over the union.

Shape suffixes: `U` the union vocabulary, `V` a member's own, `C` a few of the union's ids.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

import numpy as np
import torch

from gac_app.decoding.ranking import rank_of
from gac_app.vocab.mapping import ProbsC, VocabMapping

_MANY = 1 << 16  # single values, from which all of them are sooner put in the union's order


class Row:
    """A distribution.

    Attributes:
        open_ids: tokens that stand for longer ones, which begin with them but are no union tokens themselves -> the
            part of the token's probability that belongs to such.
    """

    def __init__(self, probs_U: torch.Tensor, open_ids: dict[int, float] | None = None) -> None:
        self.open_ids = open_ids or {}
        self._probs_U: torch.Tensor | None = probs_U

    @property
    def probs_U(self) -> torch.Tensor:
        """By union token, summing to 1."""
        assert self._probs_U is not None  # noqa: S101 (it was given)
        return self._probs_U

    @property
    def is_on_cpu(self) -> bool:
        """Where single values can be looked at for little."""
        return self.probs_U.device.type == "cpu"

    def at(self, ids: list[int] | slice) -> ProbsC:
        """Single probabilities; on a CPU only."""
        found: ProbsC = self.probs_U.numpy()[ids]
        return found

    def prob_of(self, token_id: int) -> float:
        """One probability."""
        return float(self.at([token_id])[0]) if self.is_on_cpu else float(self.probs_U[token_id])

    def rank_of(self, token_id: int) -> int:
        """How many tokens are likelier, plus 1."""
        return rank_of(token_id, self.probs_U)

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right behind this token."""
        return self.prob_of(token_id) - self.open_ids.get(token_id, 0.0)

    def ends_at_each(self, ranges: SequenceOf[range]) -> list[float]:
        """`ends_at` of the first of each range of tokens."""
        firsts = [ids.start for ids in ranges]
        if self.is_on_cpu:
            probs = self.at(firsts).tolist()
        else:  # one look at the device
            probs = self.probs_U[torch.tensor(firsts, dtype=torch.int64, device=self.probs_U.device)].tolist()
        return [prob - self.open_ids.get(first, 0.0) for first, prob in zip(firsts, probs, strict=True)]

    def begun_by_each(self, ranges: SequenceOf[range]) -> list[float]:
        """Probability of each range of tokens."""
        if self.is_on_cpu:
            return [float(np.add.reduce(self.at(slice(ids.start, ids.stop)))) for ids in ranges]
        total_U = torch.cat([self.probs_U.new_zeros(1, dtype=torch.float64), self.probs_U.double().cumsum(0)])
        ends = torch.tensor([(ids.start, ids.stop) for ids in ranges], device=total_U.device).reshape(-1, 2)
        found: list[float] = (total_U[ends[:, 1]] - total_U[ends[:, 0]]).tolist()
        return found


class OwnRow(Row):
    """A distribution on the CPU that is put in the union's order only when all of it is looked at.

    Args:
        probs_V: as `mapping.own_probs` gives them.
    """

    def __init__(self, mapping: VocabMapping, probs_V: torch.Tensor) -> None:
        self.open_ids = {}
        self._mapping = mapping
        self._probs_V = probs_V
        self._probs_U = None

    @property
    def probs_U(self) -> torch.Tensor:
        if self._probs_U is None:
            with torch.inference_mode():
                self._probs_U = self._mapping.spread(self._probs_V)
        return self._probs_U

    @property
    def is_on_cpu(self) -> bool:
        return True

    def at(self, ids: list[int] | slice) -> ProbsC:
        return super().at(ids) if self._probs_U is not None else self._mapping.at(ids, self._probs_V)

    def rank_of(self, token_id: int) -> int:
        return int(np.count_nonzero(self._probs_V.numpy() > self.at([token_id]))) + 1

    def begun_by_each(self, ranges: SequenceOf[range]) -> list[float]:
        if sum(map(len, ranges)) > _MANY:
            _ = self.probs_U
        return super().begun_by_each(ranges)
