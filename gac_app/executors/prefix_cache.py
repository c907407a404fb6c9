"""The prefix cache: a sequence that begins like another one continues from a copy of its KV cache.

Sequences share within a *namespace*, one conversation: the ensemble's answer and a member's own compute their prompt
once, and the next turn or a branch continues from the turn before, if that is still kept. Across namespaces they share
*known prefixes*, the ids that the model's template or a view puts before every chat, and no more. Kept sequences of
ended sessions are bounded in number and in ids (see `Kept`). All but `kept` is called in the member's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gac_app.decoding.forward import failures_named
from gac_app.errors import MemberError
from gac_app.models.base import Model, Read, Sequence, num_common
from gac_app.models.message import Message

NO_SLOT = -1  # slot of a sequence that has no KV cache yet
# Ids; llama.cpp copies a cache of 4,096 places in the time of two or three (14 ms, however many are used).
MIN_SHARED = 8
MAX_KEPT = 4  # sequences of ended sessions: those of two runs
MAX_KEPT_CONTEXTS = 2  # ids of these, counted in full contexts: the two sequences of the longest run


@dataclass(frozen=True, slots=True)
class Kept:
    """What a member keeps of ended sessions, and the limits. Bytes are 0 if unknown."""

    num_sequences: int
    max_sequences: int
    num_ids: int
    max_ids: int
    num_bytes: int
    max_bytes: int


@dataclass(slots=True, eq=False, weakref_slot=True)
class NamespacedSequence(Sequence):
    """A sequence that others of its namespace may continue from.

    Attributes:
        namespace: empty = it shares nothing.
        cached: the ids in the model's KV cache. `ids` is the session's, which may have changed since the last read.
        waits_for: the sequence whose prefill it waits for, to continue from it.
    """

    namespace: str = ""
    cached: list[int] = field(default_factory=list)
    waits_for: Sequence | None = None

    @property
    def progress(self) -> int:
        waits_for = self.waits_for
        return self.num_computed + (waits_for.num_computed if waits_for else 0)


def chat_prefix_of(model: Model) -> list[int]:
    """The ids that every chat begins with, such as a default system message; empty if too few to be worth sharing."""
    return shared_prefix(model, lambda text: model.encode_chat([Message("user", text)]))


def shared_prefix(model: Model, encode: Callable[[str], list[int]]) -> list[int]:
    """The ids that `encode` begins with, whatever the text."""
    if model.device.type != "cpu":
        return []
    try:
        one, other = map(encode, ("one", "another"))
    except Exception:  # the template fails; chats will report it
        return []
    prefix = one[: num_common(one, other)]
    return prefix if len(prefix) >= MIN_SHARED else []


class PrefixCache:
    """The sequences of one model: those in use, and those of ended sessions while there is room.

    Args:
        chat_prefix: ids that sequences of all namespaces may share.
    """

    def __init__(self, model: Model, chat_prefix: list[int]) -> None:
        self._model = model
        self._prefixes: list[list[int]] = []  # the longest first
        self._max_kept = self._max_ids = 0
        self.add_view([chat_prefix] if chat_prefix else [])
        self._live: list[NamespacedSequence] = []
        self._kept: list[NamespacedSequence] = []  # oldest first

    def add_view(self, prefixes: list[list[int]]) -> None:
        """Make room for another kind of prompt, all of which begin with one of these."""
        self._prefixes = sorted([*self._prefixes, *prefixes], key=len, reverse=True)
        self._max_kept += MAX_KEPT
        self._max_ids += MAX_KEPT_CONTEXTS * self._model.context_length

    @property
    def kept(self) -> Kept:
        """What is kept of ended sessions. Safe to call from any thread."""
        kept, bytes_per_id = list(self._kept), self._model.bytes_per_id
        num_ids = sum(len(sequence.cached) for sequence in kept)
        limits = self._max_kept, self._max_ids
        return Kept(len(kept), limits[0], num_ids, limits[1], num_ids * bytes_per_id, limits[1] * bytes_per_id)

    def allocate(self, read: Read) -> None:
        """Give a read's sequence a slot, and the prefix that another sequence of its namespace has computed.

        Raises:
            MemberError: no more sequences can be held.
        """
        sequence = read.sequence
        if sequence.slot != NO_SLOT or not isinstance(sequence, NamespacedSequence):
            return
        sequence.waits_for = None
        donor, num_shared = self._donor(sequence, len(sequence.ids) - read.num_logits)
        if donor and num_shared >= MIN_SHARED:
            self._continue_from(donor, sequence, num_shared)
        else:
            self._allocate_with_prefix(sequence)
        self._live.append(sequence)

    def fork(self, sequence: Sequence) -> Sequence:
        """A copy of a sequence. Raises MemberError if no slot is free."""
        self.allocate_empty(sequence)
        return self._with_room(lambda: self._model.fork(sequence))

    def allocate_empty(self, sequence: Sequence) -> None:
        """Give a sequence a slot with an empty KV cache. Raises MemberError if no slot is free."""
        if sequence.slot == NO_SLOT:
            sequence.slot = self._with_room(self._model.new_sequence).slot

    def note(self, sequence: Sequence, start: int) -> None:
        """Ids of a sequence were computed, from its id number `start` on."""
        if isinstance(sequence, NamespacedSequence):
            del sequence.cached[start:]
            if len(sequence.cached) == start:  # otherwise the ids before are not trusted
                sequence.cached += sequence.ids[start : sequence.num_computed]

    def invalidate(self, sequence: Sequence) -> None:
        """A forward pass of this sequence failed: no other sequence may continue from it."""
        if isinstance(sequence, NamespacedSequence):
            sequence.namespace = ""
            sequence.cached.clear()

    def free(self, sequence: Sequence) -> None:
        """A session has ended: keep its sequence for the conversation's next turn, or free it."""
        if sequence.slot == NO_SLOT:
            return
        if isinstance(sequence, NamespacedSequence) and sequence in self._live:
            self._live.remove(sequence)
            if sequence.namespace and len(sequence.cached) >= MIN_SHARED:
                self._kept.append(sequence)
                while len(self._kept) > self._max_kept or self.kept.num_ids > self._max_ids:
                    self._model.free(self._kept.pop(0))
                return
            prefix = self._prefix_of(sequence.cached)
            is_last_with_it = prefix and not self._with_prefix(prefix)
            if is_last_with_it:
                self._model.rewind(sequence, len(prefix))
                del sequence.cached[len(prefix) :]
                self._kept.insert(0, sequence)  # the first to be evicted
                return
        self._model.free(sequence)

    def forget(self, namespace: str, opened: Iterable[NamespacedSequence] = ()) -> None:
        """Drop this namespace and those below it ("a" of "a/b"). `opened` may have no slot yet."""
        for sequence in [*opened, *self._live, *self._kept]:
            if f"{sequence.namespace}/".startswith(f"{namespace}/"):
                sequence.namespace = ""
                if sequence in self._kept:
                    self._kept.remove(sequence)
                    self._model.free(sequence)

    def evict_kept(self) -> bool:
        """Free all kept sequences. Returns whether there were any."""
        had_any = bool(self._kept)
        while self._kept:
            self._model.free(self._kept.pop())
        return had_any

    def _donor(self, sequence: NamespacedSequence, most: int) -> tuple[NamespacedSequence | None, int]:
        """The sequence with the longest common prefix, and that length, at most `most`. Kept ones are preferred: they
        need no copy.
        """
        donors = [donor for donor in [*self._live, *self._kept] if donor.namespace == sequence.namespace != ""]
        shared = [(self._num_shared(donor, sequence, most), donor in self._kept, i) for i, donor in enumerate(donors)]
        num_shared, _, index = max(shared, default=(0, False, -1))
        return (donors[index], num_shared) if shared else (None, 0)

    def _num_shared(self, donor: NamespacedSequence, sequence: NamespacedSequence, most: int) -> int:
        """The number of ids in a donor's KV cache that the sequence can use."""
        num_same = min(num_common(donor.cached, sequence.ids), most)
        if sequence.num_fixed is None or donor.num_fixed == sequence.num_fixed <= num_same:
            return num_same
        num_prompt = min(num_same, donor.num_fixed or 0, sequence.num_fixed)
        return num_prompt - num_prompt % self._model.chunk_size

    def _continue_from(self, donor: NamespacedSequence, sequence: NamespacedSequence, num_shared: int) -> None:
        if donor in self._kept:
            self._kept.remove(donor)
            held: Sequence = donor
        else:
            held = self._with_room(lambda: self._model.fork(donor))
        self._take(held, sequence, num_shared)

    def _take(self, held: Sequence, sequence: NamespacedSequence, num_shared: int) -> None:
        """Let a sequence take over the slot of `held`, with the first `num_shared` ids."""
        sequence.slot, sequence.num_computed = held.slot, num_shared
        sequence.cached = sequence.ids[:num_shared]

    def _allocate_with_prefix(self, sequence: NamespacedSequence) -> None:
        """Give a sequence a slot, with its known prefix if another sequence has it and there is room for a copy."""
        prefix = self._prefix_of(sequence.ids[:-1]) if sequence.num_fixed is None else []
        donors = self._with_prefix(prefix) if prefix else []
        if donors:
            try:
                with failures_named(self._model):
                    copied = self._model.fork(min(donors, key=lambda donor: len(donor.cached)))
            except MemberError:
                pass  # no room for it
            else:
                self._take(copied, sequence, len(prefix))
                return
        self.allocate_empty(sequence)

    def _prefix_of(self, ids: list[int]) -> list[int]:
        """The longest known prefix that these ids begin with; empty if there is none."""
        return next((prefix for prefix in self._prefixes if ids[: len(prefix)] == prefix), [])

    def _with_prefix(self, prefix: list[int]) -> list[NamespacedSequence]:
        return [one for one in [*self._live, *self._kept] if one.cached[: len(prefix)] == prefix]

    def _with_room(self, make: Callable[[], Sequence]) -> Sequence:
        while True:
            try:
                with failures_named(self._model):
                    return make()
            except MemberError:
                if not self._kept:
                    raise
                self._model.free(self._kept.pop(0))
