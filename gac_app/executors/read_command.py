"""A read that somebody waits for."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from gac_app.decoding.distribution.reading import Foreseen, Reading
from gac_app.executors.shared_prefixes import UNHELD, ScopedSequence
from gac_app.models.base import Read, Sequence


@dataclass(slots=True, eq=False)
class ReadCommand:
    """`num_read` and `seconds` are of the parts of it that are done.

    Attributes:
        foreseen: None = the reading is not late, and nothing is read on.
        is_background: it comes after those of others (see `Passes`).
    """

    read: Read
    future: Future[Reading]
    foreseen: Foreseen | None = None
    is_background: bool = False
    num_read: int = 0
    seconds: float = 0.0

    @property
    def sequence(self) -> Sequence:
        return self.read.sequence

    @property
    def new_scope(self) -> str:
        """Of a sequence that the model does not hold yet; "" where it does, or where it shares nothing."""
        sequence = self.sequence
        return sequence.scope if isinstance(sequence, ScopedSequence) and sequence.slot == UNHELD else ""
