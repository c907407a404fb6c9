"""What all constraints have in common.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch


class Constraint(ABC):
    """Changes the combined distribution of each step of one answer.

    Attributes:
        biased_ids: tokens that it makes more or less likely, wherever they are.
    """

    biased_ids: Sequence[int] = ()

    @abstractmethod
    def __call__(self, probs_U: torch.Tensor) -> torch.Tensor:
        """The distribution from which the next token may be drawn, summing to 1; `probs_U` stays as it is.

        Raises:
            ConstraintError: no token is left.
        """

    def allowed_U(self, num_bytes: int | None = None) -> torch.Tensor | None:
        """1 for the tokens whose bytes may follow the first `num_bytes` of the answer (None = all of it), 0 for the
        others; None = all tokens may. Raises ConstraintError if no token is left.
        """
        return None

    @abstractmethod
    def note(self, token_id: int) -> None:
        """A token was written, chosen or forced. Raises ConstraintError, and changes nothing, if it is not allowed."""

    @abstractmethod
    def fork(self) -> Constraint:
        """An independent copy with the same state."""
