"""What a model is asked: to make the KV cache of a sequence hold some ids, and to give logits. Plain values."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

Share = tuple[str, ...]  # whose sequence it is, the outermost level first; see `executors.fair_queue`
LOCAL: Share = ("local",)  # of whoever started the program: the command line, the library
BACKGROUND: Share = ("background",)  # of what a server does for itself; it waits for all others


@dataclass(slots=True, eq=False, weakref_slot=True)
class KVSequence:
    """One context inside one model. `slot` and `ids` belong to whoever owns the model; other threads only look at them.

    Attributes:
        prompt: what it was opened with; where texts are scored after it, also the prompt's last id.
        ids: in the model's KV cache.
        fixed_chunk_prompt_len: length of its prompt, if it is computed in fixed chunks (see `Model.fixed_chunk`).
        namespace: sequences of one namespace continue from each other; empty = it shares nothing.
        waits_for: the sequence whose prefill it waits for, to continue from it.
        is_awaited: somebody waits for its reads, or soon will; otherwise they are computed when nothing else is to do.
    """

    slot: int  # the model's own handle
    prompt: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    fixed_chunk_prompt_len: int | None = None
    share: Share = BACKGROUND
    timeout_s: float = 120.0  # of a step that waits for its reads
    stopped: threading.Event = field(default_factory=threading.Event)  # nobody waits for its reads any more
    namespace: str = ""
    waits_for: KVSequence | None = None
    is_awaited: bool = True

    @property
    def progress(self) -> int:
        """Changes while what it waits for is computed. Safe to read from any thread."""
        waits_for = self.waits_for
        return len(self.ids) + (len(waits_for.ids) if waits_for else 0)


def num_common(ids: tuple[int, ...], others: tuple[int, ...]) -> int:
    """Length of the common prefix, found by comparing slices: a loop over a long context would take a millisecond."""
    low, high = 0, min(len(ids), len(others))
    if ids[:high] == others[:high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if ids[low:middle] == others[low:middle] else (low, middle - 1)
    return low


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """Make a sequence's KV cache hold exactly `ids`, and give the logits after each of the last `num_logits` of them.

    A value: it does not say what the cache holds so far. `num_logits` is at least 1 and at most the number of ids.
    `with_logs` asks for exact log-probabilities too; models ignore it.
    """

    sequence: KVSequence
    ids: tuple[int, ...]
    num_logits: int = 1
    with_logs: bool = False

    @property
    def start(self) -> int:
        """Number of ids that are computed, once the model has taken the request."""
        return len(self.sequence.ids)

    @property
    def uncomputed(self) -> tuple[int, ...]:
        """The ids after them."""
        return self.ids[len(self.sequence.ids) :]

    @property
    def num_uncomputed(self) -> int:
        """Their number; before the model has taken the request, a guess."""
        return max(self.num_logits, len(self.ids) - len(self.sequence.ids))

    def chunk(self, num_ids: int, num_logits: int = 1) -> ForwardRequest:
        """The request for the next `num_ids` ids alone."""
        return ForwardRequest(self.sequence, self.ids[: len(self.sequence.ids) + num_ids], num_logits)
