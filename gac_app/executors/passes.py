"""The forward passes of one model: which of the reads that wait share one, and in what order. All is called in the
model's own thread.

Short reads come first, as many in one pass as is worth it, then one that shares no pass, or a part of a long one:
whoever only wants a next token waits for no other visitors' prompts. What is read in the background waits as long as
other sequences are in use, but for a pass every few seconds, lest it never ends.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Iterator

from gac_app.decoding.distribution.reading import Reading
from gac_app.decoding.forward import begun_behind, read_part, take_readings
from gac_app.errors import GacError, MemberError
from gac_app.executors.pass_costs import PassCosts
from gac_app.executors.read_command import ReadCommand
from gac_app.executors.shared_prefixes import ScopedSequence, SharedPrefixes, opening_of
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping

_PATIENCE = 0.5  # of what a shared pass gains: how long it waits for the next sequence
MAX_PATIENCE_S = 0.05  # from the first read that waits
BACKGROUND_S = 5.0  # between two passes in the background while other sequences are in use


class Passes:
    """Carries out reads."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self.prefixes = SharedPrefixes(model, opening_of(model))
        self._model = model
        self._mapping = mapping
        self._costs = PassCosts()
        self._asked: list[ReadCommand] = []  # not begun
        self._apart: deque[ReadCommand] = deque()  # begun, and sharing no pass: read one by one, part by part
        self._read_last: set[int] = set()  # the sequences of the last round, by identity
        self._in_use: set[int] = set()  # those that are not read in the background, until they are dropped
        self._background_at = 0.0  # when it is the background's turn, whatever is in use; monotonic

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do now."""
        return self.idle_s() > 0

    def idle_s(self) -> float:
        """For how long there is nothing to do, unless somebody asks; infinity = as long as nobody does."""
        waiting = [*self._asked, *self._apart]
        if not waiting:
            return math.inf
        if not all(map(self._is_put_off, waiting)):
            return 0.0
        return max(0.0, self._background_at - time.monotonic())

    def add(self, command: ReadCommand) -> None:
        """Take a read to be carried out."""
        self._asked.append(command)
        if not command.is_background:
            self._in_use.add(id(command.sequence))

    def drop_background(self) -> None:
        """Nobody wants what is read in the background any more."""
        self._refuse([command for command in (*self._asked, *self._apart) if command.is_background])

    def patience_s(self) -> float:
        """How long to wait for the next read of the last round's sequences, for a pass with those that wait now."""
        next_ones = [command for command in self._asked if not self._is_put_off(command)]
        if not next_ones or not all(map(self._is_put_off, self._apart)):
            return 0.0
        num_missing = len(self._read_last - {id(command.sequence) for command in self._asked})
        num_steps = len({id(command.sequence) for command in next_ones})
        return _PATIENCE * self._costs.gain(num_steps, num_missing) if num_missing else 0.0

    def sit_out(self, sequence: Sequence) -> None:
        """No pass waits for a read of this sequence."""
        self._read_last.discard(id(sequence))

    def advance(self) -> None:
        """One pass for all short reads or as few as pay, and one other read or a part of it."""
        has_turn = time.monotonic() >= self._background_at
        short = list(self._begun(has_turn=has_turn))
        long = next((command for command in self._apart if has_turn or not self._is_put_off(command)), None)
        carried_out = [*short, *([long] if long else [])]
        self._read_last = {id(command.sequence) for command in carried_out}
        for group in self._groups(short):
            self._read_together(group)
        if long:
            self._apart.remove(long)
            self._read_part(long)
        if any(command.is_background for command in carried_out):
            self._background_at = time.monotonic() + BACKGROUND_S

    def finish(self, sequence: Sequence) -> None:
        """Carry out what is asked for a sequence, so that something else can be done with it."""
        while left := [command for command in (*self._asked, *self._apart) if command.sequence is sequence]:
            for command in left:
                command.is_background = False  # what else is asked waits for it
            self.advance()

    def drop(self, sequence: Sequence) -> None:
        """Nobody wants this sequence any more: what is short is still read, other reads are not."""
        if any(command.sequence is sequence for command in self._asked):
            self.advance()
        self._refuse([command for command in (*self._asked, *self._apart) if command.sequence is sequence])
        self._read_last.discard(id(sequence))
        self._in_use.discard(id(sequence))

    def _refuse(self, commands: list[ReadCommand]) -> None:
        for command in commands:
            if command in self._apart:
                self._apart.remove(command)
            else:
                self._asked.remove(command)
                if not command.future.set_running_or_notify_cancel():
                    continue
            command.future.set_exception(MemberError(self._model.name, "exception", "the sequence was given back"))

    # --- which and in what order

    def _is_put_off(self, command: ReadCommand) -> bool:
        """Whether it waits until it is the background's turn."""
        return command.is_background and bool(self._in_use)

    def _begun(self, *, has_turn: bool) -> Iterator[ReadCommand]:
        """The short ones of the reads that wait; those that have passes to themselves are put aside.

        Those wait on that may go on from what another new one of their scope reads, or whose turn, the background's, it
        is not.
        """
        asked, self._asked = self._asked, []
        scopes = {command.sequence.scope for command in self._apart if isinstance(command.sequence, ScopedSequence)}
        for command in asked:
            scope = command.new_scope
            if (scope and scope in scopes) or (self._is_put_off(command) and not has_turn):
                self._asked.append(command)
                continue
            scopes |= {scope} if scope else set()
            if self._is_wanted(command):
                if self._can_share(command):
                    yield command
                else:
                    self._apart.append(command)

    def _can_share(self, command: ReadCommand) -> bool:
        num_pending = command.sequence.num_pending
        if command.sequence.num_fixed is not None:
            return self._model.is_batch_invariant and num_pending == 1
        return not self._num_in_part(command) and num_pending <= self._model.max_shared_ids

    def _num_in_part(self, command: ReadCommand) -> int:
        """How many ids to read by themselves, before those with what comes behind them; 0 = none."""
        sequence = command.sequence
        is_fixed = sequence.num_fixed is not None
        num_ids = self._model.fixed_part(sequence) if is_fixed else self._model.pass_ids
        return num_ids if sequence.num_pending - command.read.num_logits >= num_ids else 0

    def _is_wanted(self, command: ReadCommand) -> bool:
        """Whether somebody still waits for this read, and a pass is needed for it; its sequence is held then."""
        if not command.future.set_running_or_notify_cancel():
            return False
        try:
            known = self.prefixes.hold(command.read)
        except Exception as error:  # the session's to handle: the worker goes on
            command.future.set_exception(error)
            return False
        if known:
            command.future.set_result(known)
        return not known

    def _groups(self, commands: list[ReadCommand]) -> Iterator[list[ReadCommand]]:
        """Commands that share a pass."""
        is_stepping = all(command.sequence.num_pending == 1 for command in commands)
        start = 0
        for size in self._costs.sizes(len(commands)) if is_stepping else [len(commands)]:
            if size:
                yield commands[start : start + size]
            start += size

    # --- passes

    def _read_together(self, commands: list[ReadCommand]) -> None:
        """One forward pass, of which each is told as soon as its reading is made; where it fails, one each for those
        that are left, so that only the culprit's session suffers.
        """
        is_stepping = all(command.sequence.num_pending == 1 for command in commands)
        left = [(command, command.sequence.num_valid) for command in commands]
        try:
            for reading in _taken(self._model, self._mapping, commands):
                self._deliver(*left.pop(0), reading)
        except GacError as error:
            failure = error
        else:
            if is_stepping:
                self._costs.note(len(commands), reading.seconds)
            return
        has_room = self._has_more_room([command for command, _ in left], failure)
        if len(commands) == 1 and not has_room:
            commands[0].future.set_exception(failure)
            return
        for command, length in left:
            self._read_again(command, length)

    def _read_part(self, command: ReadCommand) -> None:
        """Read a part of a long read, or what is left of it when that is little."""
        num_in_part = self._num_in_part(command)
        if not num_in_part:
            self._read_together([command])
            return
        length = command.sequence.num_valid
        try:
            self._read_first(command, num_in_part)
        except GacError as error:
            if not self._has_more_room([command], error):
                command.future.set_exception(error)
                return
            try:
                self._rewind(command, length)
            except Exception as second:  # the session's to handle: the worker goes on
                command.future.set_exception(second)
            else:
                self._apart.appendleft(command)
            return
        self._apart.append(command)

    def _read_first(self, command: ReadCommand, num_ids: int) -> None:
        """Read the first ids of what is pending. Raises MemberError."""
        length, started = command.sequence.num_valid, time.monotonic()
        read_part(self._model, command.sequence, num_ids)
        self.prefixes.note_part(command.sequence, length)
        command.num_read += command.sequence.num_valid - length
        command.seconds += time.monotonic() - started

    def _has_more_room(self, commands: list[ReadCommand], error: GacError) -> bool:
        """After a failed pass: whether memory could be given back that it may have lacked."""
        for command in commands:
            self.prefixes.distrust(command.sequence)
        _let_go(error)
        return isinstance(error, MemberError) and error.kind == "out-of-memory" and self.prefixes.give_up_kept()

    def _read_again(self, command: ReadCommand, length: int) -> None:
        """Read by itself what was part of a failed pass, from the `length` ids that were cached before that."""
        self.prefixes.distrust(command.sequence)
        try:
            self._rewind(command, length)
            [reading] = _taken(self._model, self._mapping, [command])
        except Exception as error:  # the session's to handle: the worker goes on
            command.future.set_exception(error)
        else:
            command.future.set_result(_whole(command, reading))

    def _rewind(self, command: ReadCommand, length: int) -> None:
        ids = list(command.sequence.ids)
        self._model.rewind(command.sequence, length)
        command.sequence.ids[:] = ids

    def _deliver(self, command: ReadCommand, length: int, reading: Reading) -> None:
        self.prefixes.note(command.sequence, length, reading)
        reading.ahead = begun_behind(reading, command.sequence, command.foreseen, self._mapping)
        if ahead := reading.ahead:
            self.add(ReadCommand(Read(command.sequence), ahead.reading, ahead.foreseen, command.is_background))
        command.future.set_result(_whole(command, reading))


def _taken(model: Model, mapping: VocabMapping, commands: list[ReadCommand]) -> Iterator[Reading]:
    reads, foreseen = [command.read for command in commands], [command.foreseen for command in commands]
    return take_readings(model, mapping, reads, foreseen)


def _let_go(error: BaseException | None) -> None:
    """Forget what the frames of a failed pass hold: tensors, in memory that a second try needs."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _whole(command: ReadCommand, reading: Reading) -> Reading:
    """A reading with what its earlier parts cost."""
    if command.num_read:
        reading.num_read += command.num_read
        reading.seconds += command.seconds
    return reading
