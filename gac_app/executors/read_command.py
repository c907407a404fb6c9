"""A read in the queue of the batch scheduler."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

from gac_app.decoding.distribution import ReadResult
from gac_app.executors.prefix_cache import NO_SLOT
from gac_app.models.base import BACKGROUND, ForwardRequest, Sequence


@dataclass(slots=True, eq=False)
class ReadCommand:
    """A read, and the future that gets its result.

    Attributes:
        is_background: it yields to all other reads (see `BatchScheduler`), unless somebody waits for it.
        num_read, seconds: of the chunks computed so far.
    """

    request: ForwardRequest
    future: Future[ReadResult]
    is_background: bool = field(init=False)
    num_read: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.is_background = self.sequence.share[:1] == BACKGROUND

    @property
    def sequence(self) -> Sequence:
        return self.request.sequence

    @property
    def new_namespace(self) -> str:
        """The namespace of a sequence that has no slot yet; "" if it has one, or shares nothing."""
        return self.sequence.namespace if self.sequence.slot == NO_SLOT else ""
