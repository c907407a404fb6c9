"""What one sequence has read, another that begins alike need not read again: it goes on from a copy of the cache.

Sequences share within a *scope*, one conversation: the ensemble's answer and a member's own read their prompt once, and
the next turn or a branch goes on from what is still held of the turn before. Across scopes they share the *opening*,
what every chat begins with by the model's template, and no more. What is kept of ended sessions is bounded in sequences
and in ids (see `Kept`). All but `kept` is called in the member's own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field

from gac_app.decoding.distribution.reading import Reading
from gac_app.decoding.forward import failures_named
from gac_app.errors import MemberError
from gac_app.models.base import Model, Read, Sequence, num_common
from gac_app.models.message import Message

UNHELD = -1  # slot of a sequence that the model does not hold yet
# Ids; llama.cpp copies a cache of 4,096 places in the time of two or three (14 ms, however many are used).
MIN_SHARED = 8
MAX_KEPT = 4  # sequences whose sessions have ended: those of two runs
MAX_KEPT_CONTEXTS = 2  # ids of these, in full contexts: the two sequences of the longest run


@dataclass(frozen=True, slots=True)
class Kept:
    """What a member keeps of ended sessions, and at most. Bytes are 0 where they are not known."""

    num_sequences: int
    max_sequences: int
    num_ids: int
    max_ids: int
    num_bytes: int
    max_bytes: int


@dataclass(slots=True, eq=False)
class ScopedSequence(Sequence):
    """A sequence that others of its scope may go on from.

    Attributes:
        scope: empty = it shares with none.
        held: the ids in the model's cache. `ids` is the session's, which may have changed it since the last read.
        first: its first reading, behind the first `num_first` of these ids; None where they are no longer these.
    """

    scope: str = ""
    held: list[int] = field(default_factory=list)
    num_first: int = 0
    first: Reading | None = None


def opening_of(model: Model) -> list[int]:
    """What every chat begins with, a template's default system message included; empty where it is soon read."""
    if model.device.type != "cpu":
        return []
    try:
        one, other = (model.encode_chat([Message("user", text)]) for text in ("one", "another"))
    except Exception:  # a template's: the chats themselves will tell
        return []
    opening = one[: num_common(one, other)]
    return opening if len(opening) >= MIN_SHARED else []


class SharedPrefixes:
    """The sequences of one model, those of ended sessions included as long as there is room.

    Args:
        opening: ids that sequences of all scopes may share.
        max_kept: how many sequences of ended sessions are kept at most.
    """

    def __init__(self, model: Model, opening: list[int], max_kept: int = MAX_KEPT) -> None:
        self._model = model
        self._opening = opening
        self._max_kept = max_kept
        self._max_ids = MAX_KEPT_CONTEXTS * model.context_length
        self._live: list[ScopedSequence] = []
        self._kept: list[ScopedSequence] = []  # oldest first

    @property
    def kept(self) -> Kept:
        """May be looked at from any thread."""
        kept, bytes_per_id = list(self._kept), self._model.bytes_per_id
        num_ids = sum(len(sequence.held) for sequence in kept)
        limits = self._max_kept, self._max_ids
        return Kept(len(kept), limits[0], num_ids, limits[1], num_ids * bytes_per_id, limits[1] * bytes_per_id)

    def hold(self, read: Read) -> Reading | None:
        """Let the model hold a read's sequence, with what another of its scope has read of it.

        Returns:
            what is asked for, where another has read just this before: nothing is left to be read then.

        Raises:
            MemberError: where no more sequences can be held.
        """
        sequence = read.sequence
        if sequence.slot != UNHELD or not isinstance(sequence, ScopedSequence):
            return None
        donor, num_shared = self._donor(sequence)
        reading = _known(donor, read, num_shared) if donor else None
        if not reading:
            num_shared = min(num_shared, len(sequence.ids) - read.num_logits)
        if donor and num_shared >= MIN_SHARED:
            self._go_on_from(donor, sequence, num_shared)
            sequence.num_first, sequence.first = (donor.num_first, donor.first) if reading else (0, None)
        else:
            reading = None
            self._hold_with_opening(sequence)
        self._live.append(sequence)
        return reading

    def fork(self, sequence: Sequence) -> Sequence:
        """A copy of a sequence. Raises MemberError where no more can be held."""
        self.hold_empty(sequence)
        return self._with_room(lambda: self._model.fork(sequence))

    def hold_empty(self, sequence: Sequence) -> None:
        """Let the model hold a sequence without any of its ids read. Raises MemberError where it cannot."""
        if sequence.slot == UNHELD:
            sequence.slot = self._with_room(self._model.new_sequence).slot

    def note(self, sequence: Sequence, start: int, reading: Reading) -> None:
        """A sequence was read from its id number `start` on, and nothing behind that yet."""
        if isinstance(sequence, ScopedSequence):
            self._hold_from(sequence, start, len(sequence.ids))
            if not sequence.num_first:
                sequence.num_first, sequence.first = len(sequence.ids), copy(reading)  # which nothing is read behind

    def note_part(self, sequence: Sequence, start: int) -> None:
        """A part of a sequence's pending ids was read, from its id number `start` on."""
        if isinstance(sequence, ScopedSequence):
            self._hold_from(sequence, start, sequence.num_cached)

    def rewound(self, sequence: Sequence) -> None:
        """A sequence was rewound."""
        if isinstance(sequence, ScopedSequence):
            self._forget_from(sequence, sequence.num_cached)

    def distrust(self, sequence: Sequence) -> None:
        """A pass of this sequence failed: nobody goes on from it."""
        if isinstance(sequence, ScopedSequence):
            sequence.scope = ""
            sequence.held.clear()

    def free(self, sequence: Sequence) -> None:
        """A session has ended: keep its sequence for the conversation's next one, or give its memory back."""
        if sequence.slot == UNHELD:
            return
        if isinstance(sequence, ScopedSequence) and sequence in self._live:
            self._live.remove(sequence)
            if sequence.scope and len(sequence.held) >= MIN_SHARED:
                self._kept.append(sequence)
                while len(self._kept) > self._max_kept or self.kept.num_ids > self._max_ids:
                    self._model.free(self._kept.pop(0))
                return
            if self._has_opening(sequence) and not self._with_opening():  # the last that has it
                self._model.rewind(sequence, len(self._opening))
                self._forget_from(sequence, len(self._opening))
                self._kept.insert(0, sequence)  # the first to be given up
                return
        self._model.free(sequence)

    def forget(self, scope: str) -> None:
        """Let nobody go on any more from sequences of this scope, or of those below it ("a" of "a/b")."""
        for sequence in [*self._live, *self._kept]:
            if f"{sequence.scope}/".startswith(f"{scope}/"):
                sequence.scope = ""
                if sequence in self._kept:
                    self._kept.remove(sequence)
                    self._model.free(sequence)

    def give_up_kept(self) -> bool:
        """Free what no session has any more; whether there was any."""
        had_any = bool(self._kept)
        while self._kept:
            self._model.free(self._kept.pop())
        return had_any

    def _donor(self, sequence: ScopedSequence) -> tuple[ScopedSequence | None, int]:
        """Whoever has read most of it, and how much; of several one that no session has, which needs no copy."""
        donors = [donor for donor in [*self._live, *self._kept] if donor.scope == sequence.scope != ""]
        shared = [(self._num_shared(donor, sequence), donor in self._kept, i) for i, donor in enumerate(donors)]
        num_shared, _, index = max(shared, default=(0, False, -1))
        return (donors[index], num_shared) if shared else (None, 0)

    def _num_shared(self, donor: ScopedSequence, sequence: ScopedSequence) -> int:
        """How many ids of a donor's cache are what the sequence would read itself."""
        num_same = num_common(donor.held, sequence.ids)
        if sequence.num_fixed is None or donor.num_fixed == sequence.num_fixed <= num_same:
            return num_same
        num_prompt = min(num_same, donor.num_fixed or 0, sequence.num_fixed)
        return num_prompt - num_prompt % self._model.pass_ids

    def _go_on_from(self, donor: ScopedSequence, sequence: ScopedSequence, num_shared: int) -> None:
        if donor in self._kept:
            self._kept.remove(donor)
            held: Sequence = donor
        else:
            held = self._with_room(lambda: self._model.fork(donor))
        self._take(held, sequence, num_shared)

    def _take(self, held: Sequence, sequence: ScopedSequence, num_shared: int) -> None:
        """Let a sequence be this one that the model holds, of which it shares so many ids."""
        sequence.slot = held.slot  # before what may fail, so that it is given back
        self._model.rewind(held, num_shared)
        sequence.num_cached = num_shared
        sequence.held = sequence.ids[:num_shared]

    def _hold_with_opening(self, sequence: ScopedSequence) -> None:
        """Let the model hold a sequence, with the opening if another has read it and there is room for a copy."""
        length = self._num_opening(sequence)
        donors = self._with_opening() if length else []
        if donors:
            try:
                with failures_named(self._model):
                    copied = self._model.fork(min(donors, key=lambda donor: len(donor.held)))
            except MemberError:
                pass  # there is no room for it
            else:
                self._take(copied, sequence, length)
                return
        self.hold_empty(sequence)

    def _has_opening(self, sequence: ScopedSequence) -> bool:
        return bool(self._opening) and sequence.held[: len(self._opening)] == self._opening

    def _with_opening(self) -> list[ScopedSequence]:
        return [sequence for sequence in [*self._live, *self._kept] if self._has_opening(sequence)]

    def _num_opening(self, sequence: Sequence) -> int:
        """Ids of the opening, where the sequence begins with it and goes on, and is not read in fixed passes."""
        length = len(self._opening) if sequence.num_fixed is None else 0
        return length if len(sequence.ids) > length and sequence.ids[:length] == self._opening else 0

    def _with_room(self, make: Callable[[], Sequence]) -> Sequence:
        while True:
            try:
                with failures_named(self._model):
                    return make()
            except MemberError:
                if not self._kept:
                    raise
                self._model.free(self._kept.pop(0))

    def _hold_from(self, sequence: ScopedSequence, start: int, end: int) -> None:
        """Of a sequence, the ids from `start` to `end` are in the cache now, and none behind them."""
        self._forget_from(sequence, start)
        if len(sequence.held) == start:  # else what comes before is not trusted
            sequence.held += sequence.ids[start:end]

    @staticmethod
    def _forget_from(sequence: ScopedSequence, length: int) -> None:
        del sequence.held[length:]
        if length < sequence.num_first:
            sequence.first = None


def _known(donor: ScopedSequence, read: Read, num_shared: int) -> Reading | None:
    """The donor's first reading, where it is what `read` asks for."""
    if donor.first is None or not num_shared == donor.num_first == len(read.sequence.ids):
        return None
    return donor.first.again(read.num_logits) if len(donor.first.rows) >= read.num_logits else None
