"""What all constraints have in common.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch


class Constraint(ABC):
    """Changes the combined distribution of each step of one answer."""

    @abstractmethod
    def __call__(self, probs_U: torch.Tensor) -> torch.Tensor:
        """The distribution from which the next token may be drawn, summing to 1; `probs_U` stays as it is.

        Raises:
            ConstraintError: no token is left.
        """

    @abstractmethod
    def note(self, token_id: int) -> None:
        """A token was written, chosen or forced. Raises ConstraintError if it may not stand there."""

    @abstractmethod
    def fork(self) -> Constraint:
        """An independent copy with the same state."""
