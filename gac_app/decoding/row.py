"""What a member expects next, over the union.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Row:
    """What a member expects next.

    Attributes:
        probs_U: by union token, summing to 1.
        open_ids: tokens that stand for longer ones, which begin with them but are no union tokens themselves -> the
            part of the token's probability that belongs to such.
    """

    probs_U: torch.Tensor
    open_ids: dict[int, float] = field(default_factory=dict)

    def ends_at(self, token_id: int) -> float:
        """Probability that the member's own next boundary is right behind this token."""
        return float(self.probs_U[token_id]) - self.open_ids.get(token_id, 0.0)

    def ends_at_each(self, ranges: SequenceOf[range]) -> list[float]:
        """`ends_at` of the first of each range of tokens."""
        firsts = [ids.start for ids in ranges]
        if self.probs_U.device.type == "cpu":
            probs = [self.probs_U.numpy().item(first) for first in firsts]
        else:  # one look at the device
            probs = self.probs_U[torch.tensor(firsts, dtype=torch.int64, device=self.probs_U.device)].tolist()
        return [prob - self.open_ids.get(first, 0.0) for first, prob in zip(firsts, probs, strict=True)]

    def begun_by_each(self, ranges: SequenceOf[range]) -> list[float]:
        """Probability of each range of tokens."""
        if self.probs_U.device.type == "cpu":
            probs_U = self.probs_U.numpy()
            return [float(np.add.reduce(probs_U[ids.start : ids.stop])) for ids in ranges]
        total_U = torch.cat([self.probs_U.new_zeros(1, dtype=torch.float64), self.probs_U.double().cumsum(0)])
        ends = torch.tensor([(ids.start, ids.stop) for ids in ranges], device=total_U.device).reshape(-1, 2)
        found: list[float] = (total_U[ends[:, 1]] - total_U[ends[:, 0]]).tolist()
        return found
