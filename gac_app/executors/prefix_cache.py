"""The prefix cache: a sequence that begins like another one continues from a copy of its KV cache.

Sequences share within a *namespace*, one conversation: the ensemble's answer and a member's own compute their prompt
once, and the next turn or a branch continues from the turn before, if that is still kept. Across namespaces they share
*known prefixes*, the ids that the model's template or a view puts before every chat, and no more. Kept sequences of
ended sessions are bounded in number and in ids (see `Kept`). All but `kept` is called in the member's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gac_app.decoding.forward import failures_named
from gac_app.errors import MemberError
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.models.sequence import ForwardRequest, KVSequence, num_common

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


def chat_prefix_of(model: Model) -> tuple[int, ...]:
    """The ids that every chat begins with, such as a default system message; empty if too few to be worth sharing."""
    return shared_prefix(model, lambda text: model.encode_chat([Message("user", text)]))


def shared_prefix(model: Model, encode: Callable[[str], list[int]]) -> tuple[int, ...]:
    """The ids that `encode` begins with, whatever the text."""
    if model.device.type != "cpu":
        return ()
    try:
        one, other = (tuple(encode(text)) for text in ("one", "another"))
    except Exception:  # the template fails; chats will report it
        return ()
    prefix = one[: num_common(one, other)]
    return prefix if len(prefix) >= MIN_SHARED else ()


class PrefixCache:
    """The sequences of one model: those in use, and those of ended sessions while there is room.

    Args:
        chat_prefix: ids that sequences of all namespaces may share.
    """

    def __init__(self, model: Model, chat_prefix: tuple[int, ...]) -> None:
        self._model = model
        self._prefixes: list[tuple[int, ...]] = []  # the longest first
        self._max_kept = self._max_ids = 0
        self.add_view([chat_prefix] if chat_prefix else [])
        self._live: list[KVSequence] = []
        self._kept: list[KVSequence] = []  # oldest first

    def add_view(self, prefixes: list[tuple[int, ...]]) -> None:
        """Make room for another kind of prompt, all of which begin with one of these."""
        self._prefixes = sorted([*self._prefixes, *prefixes], key=len, reverse=True)
        self._max_kept += MAX_KEPT
        self._max_ids += MAX_KEPT_CONTEXTS * self._model.context_length

    @property
    def kept(self) -> Kept:
        """What is kept of ended sessions. Safe to call from any thread."""
        kept, bytes_per_id = list(self._kept), self._model.bytes_per_id
        num_ids = sum(len(sequence.ids) for sequence in kept)
        limits = self._max_kept, self._max_ids
        return Kept(len(kept), limits[0], num_ids, limits[1], num_ids * bytes_per_id, limits[1] * bytes_per_id)

    def allocate(self, request: ForwardRequest) -> None:
        """Give a request's sequence a slot, and the prefix that another sequence has computed.

        Raises:
            MemberError: no more sequences can be held.
        """
        sequence = request.sequence
        if sequence.slot != NO_SLOT:
            return
        sequence.waits_for = None
        if not self._has_continued(request):
            self.allocate_empty(sequence)
        self._live.append(sequence)

    def allocate_empty(self, sequence: KVSequence) -> None:
        """Give a sequence a slot with an empty KV cache. Raises MemberError if no slot is free."""
        if sequence.slot == NO_SLOT:
            sequence.slot = self._with_room(self._model.new_sequence).slot

    def invalidate(self, sequence: KVSequence) -> None:
        """A forward pass of this sequence failed: no other sequence may continue from it."""
        if sequence in self._live:
            self._live.remove(sequence)

    def free(self, sequence: KVSequence) -> None:
        """A session has ended: keep its sequence for the conversation's next turn, or free it."""
        if sequence.slot == NO_SLOT:
            return
        if sequence in self._live:
            self._live.remove(sequence)
            if sequence.namespace and len(sequence.ids) >= MIN_SHARED:
                self._kept.append(sequence)
                while len(self._kept) > self._max_kept or self.kept.num_ids > self._max_ids:
                    self._model.free(self._kept.pop(0))
                return
            prefix = self._prefix_of(sequence.ids)
            if prefix and not any(_begins(one, prefix) for one in self._all):  # nobody else has it
                self._model.rewind(sequence, len(prefix))
                self._kept.insert(0, sequence)  # the first to be evicted
                return
        self._model.free(sequence)

    def forget(self, namespace: str, opened: Iterable[KVSequence] = ()) -> None:
        """Drop this namespace and those below it ("a" of "a/b"). `opened` may have no slot yet."""
        for sequence in [*opened, *self._all]:
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

    @property
    def _all(self) -> list[KVSequence]:
        return [*self._live, *self._kept]

    def _has_continued(self, request: ForwardRequest) -> bool:
        """Let a request's sequence go on from the one that has computed most of its ids. A kept one of its namespace
        needs no copy; a short one is copied faster. Returns False if there is none, or no room for a copy.
        """
        sequence = request.sequence
        is_fixed = sequence.fixed_chunk_prompt_len is not None
        prefix = () if is_fixed else self._prefix_of(request.ids[:-1])

        def worth(donor: KVSequence) -> tuple[int, bool, int]:
            is_near = donor.namespace == sequence.namespace != ""
            num_far = len(prefix) if _begins(donor, prefix) else 0
            num_shared = self._num_shared(donor, request) if is_near else num_far
            return num_shared, is_near and donor in self._kept, -len(donor.ids)

        donor = max(self._all, key=worth, default=None)
        if donor is None or (found := worth(donor))[0] < MIN_SHARED:
            return False
        num_shared, is_spare, _ = found
        if is_spare:
            self._kept.remove(donor)
            sequence.slot = donor.slot
        else:
            try:
                sequence.slot = self._with_room(lambda: self._model.fork(donor), donor).slot
            except MemberError:
                return False
        sequence.ids = request.ids[:num_shared]
        return True

    def _num_shared(self, donor: KVSequence, request: ForwardRequest) -> int:
        """The number of ids in a donor's KV cache that the request can use."""
        num_same = min(num_common(donor.ids, request.ids), len(request.ids) - request.num_logits)
        own, other = request.sequence.fixed_chunk_prompt_len, donor.fixed_chunk_prompt_len
        if own is None or other == own <= num_same:
            return num_same
        num_prompt = min(num_same, other or 0, own)
        return num_prompt - num_prompt % self._model.chunk_size

    def _prefix_of(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """The longest known prefix that these ids begin with; empty if there is none."""
        return next((prefix for prefix in self._prefixes if ids[: len(prefix)] == prefix), ())

    def _with_room(self, make: Callable[[], KVSequence], donor: KVSequence | None = None) -> KVSequence:
        """What `make` gives, for which kept sequences except the donor are freed."""
        while True:
            try:
                with failures_named(self._model):
                    return make()
            except MemberError:
                spare = next((kept for kept in self._kept if kept is not donor), None)
                if spare is None:
                    raise
                self._kept.remove(spare)
                self._model.free(spare)


def _begins(sequence: KVSequence, prefix: tuple[int, ...]) -> bool:
    return sequence.ids[: len(prefix)] == prefix
