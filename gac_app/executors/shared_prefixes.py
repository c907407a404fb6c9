"""What one sequence has read, another that begins alike need not read again: it goes on from a copy of the cache.

Sequences share within a *scope*, one conversation: the ensemble's answer and a member's own read their prompt once, and
the next turn or a branch goes on from what is still held of the turn before. All is called in the member's own thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gac_app.decoding.member import Reading, failures_named
from gac_app.errors import MemberError
from gac_app.models.base import Model, Read, Sequence, num_common

UNHELD = -1  # slot of a sequence that the model does not hold yet
MIN_SHARED = (
    8  # ids; llama.cpp copies a cache of 4,096 places in the time of two or three (14 ms, however many are used)
)
MAX_KEPT = 4  # sequences whose sessions have ended: those of two runs


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


class SharedPrefixes:
    """The sequences of one model, those of ended sessions included as long as there is room.

    Args:
        max_kept: how many sequences of ended sessions are kept at most.
    """

    def __init__(self, model: Model, max_kept: int = MAX_KEPT) -> None:
        self._model = model
        self._max_kept = max_kept
        self._live: list[ScopedSequence] = []
        self._kept: list[ScopedSequence] = []  # oldest first

    def hold(self, read: Read) -> Reading | None:
        """Let the model hold a read's sequence, with what another of its scope has read of it.

        Returns:
            what is asked for, where another has read just this before: nothing is left to be read then.

        Raises:
            MemberError: where no more sequences can be held.
        """
        sequence = read.sequence
        if sequence.slot != UNHELD:
            return None
        if not isinstance(sequence, ScopedSequence) or not sequence.scope:
            self.hold_empty(sequence)
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
            self.hold_empty(sequence)
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
        """A sequence was read from its id number `start` on."""
        if isinstance(sequence, ScopedSequence):
            self._forget_from(sequence, start)
            sequence.held += sequence.ids[start:]
            if not sequence.num_first:
                sequence.num_first, sequence.first = len(sequence.ids), reading

    def note_part(self, sequence: Sequence, start: int) -> None:
        """A part of a sequence's pending ids was read, from its id number `start` on."""
        if isinstance(sequence, ScopedSequence):
            self._forget_from(sequence, start)
            sequence.held += sequence.ids[start : sequence.num_cached]

    def rewound(self, sequence: Sequence) -> None:
        """A sequence was rewound."""
        if isinstance(sequence, ScopedSequence):
            self._forget_from(sequence, sequence.num_cached)

    def distrust(self, sequence: Sequence) -> None:
        """A pass of this sequence failed: nobody goes on from it."""
        if isinstance(sequence, ScopedSequence):
            sequence.scope = ""

    def free(self, sequence: Sequence) -> None:
        """A session has ended: keep its sequence for the conversation's next one, or give its memory back."""
        if sequence.slot == UNHELD:
            return
        if isinstance(sequence, ScopedSequence) and sequence in self._live:
            self._live.remove(sequence)
            if sequence.scope and len(sequence.held) >= MIN_SHARED:
                self._kept.append(sequence)
                if len(self._kept) > self._max_kept:
                    self._model.free(self._kept.pop(0))
                return
        self._model.free(sequence)

    def forget(self, scope: str) -> None:
        """Let nobody go on any more from sequences of this scope, or of those below it ("a" of "a/b")."""
        for sequence in [*self._live, *self._kept]:
            if f"{sequence.scope}/".startswith(f"{scope}/"):
                sequence.scope = ""
        for sequence in [kept for kept in self._kept if not kept.scope]:
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
        donors = [donor for donor in [*self._live, *self._kept] if donor.scope == sequence.scope]
        shared = [(num_common(donor.held, sequence.ids), donor in self._kept, i) for i, donor in enumerate(donors)]
        num_shared, _, index = max(shared, default=(0, False, -1))
        return (donors[index], num_shared) if shared else (None, 0)

    def _go_on_from(self, donor: ScopedSequence, sequence: ScopedSequence, num_shared: int) -> None:
        if donor in self._kept:
            self._kept.remove(donor)
            held: Sequence = donor
        else:
            held = self._with_room(lambda: self._model.fork(donor))
        sequence.slot = held.slot  # before what may fail, so that it is given back
        self._model.rewind(held, num_shared)
        sequence.num_cached = num_shared
        sequence.held = sequence.ids[:num_shared]

    def _with_room(self, make: Callable[[], Sequence]) -> Sequence:
        while True:
            try:
                with failures_named(self._model):
                    return make()
            except MemberError:
                if not self._kept:
                    raise
                self._model.free(self._kept.pop(0))

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
