"""A read in the queue of the batch scheduler."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from gac_app.decoding.distribution import MayDraft, ReadResult
from gac_app.executors.prefix_cache import NO_SLOT, NamespacedSequence
from gac_app.models.base import BACKGROUND, Read, Sequence


@dataclass(slots=True, eq=False)
class ReadCommand:
    """A read, and the future that gets its result.

    Attributes:
        may_draft: see `Member.read`.
        is_background: it yields to all other reads (see `BatchScheduler`), unless somebody waits for it.
        num_read, seconds: of the chunks computed so far.
    """

    read: Read
    future: Future[ReadResult]
    may_draft: MayDraft | None = None
    is_background: bool = field(init=False)
    num_read: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.is_background = self.sequence.share[:1] == BACKGROUND

    @property
    def sequence(self) -> Sequence:
        return self.read.sequence

    @property
    def new_namespace(self) -> str:
        """The namespace of a sequence that has no slot yet; "" if it has one, or shares nothing."""
        sequence = self.sequence
        return sequence.namespace if isinstance(sequence, NamespacedSequence) and sequence.slot == NO_SLOT else ""
