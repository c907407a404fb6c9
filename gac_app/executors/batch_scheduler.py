"""Decides which pending reads of one model share a forward pass, and in what order. Called in the model's thread only.

Each round batches the pending steps, as far as that pays, and then computes one chunk of one prefill. So a step waits
for at most one chunk of another visitor's prompt. Background reads wait while other sequences are in use, but get one
forward pass every few seconds, so that they finish.
"""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Iterator

from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.forward import draft_after, read_chunk, take_results
from gac_app.errors import GacError, MemberError
from gac_app.executors.batch_costs import BatchCosts
from gac_app.executors.prefix_cache import NamespacedSequence, PrefixCache, chat_prefix_of
from gac_app.executors.read_command import ReadCommand
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping

_WAIT_SHARE = 0.5  # share of the time saved by a larger batch that may be spent waiting for it
MAX_WAIT_S = 0.05  # of the first pending read
BACKGROUND_S = 5.0  # between two background rounds while other sequences are in use


class BatchScheduler:
    """Computes reads in batches."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self.prefix_cache = PrefixCache(model, chat_prefix_of(model))
        self._model = model
        self._mapping = mapping
        self._costs = BatchCosts()
        self._asked: list[ReadCommand] = []  # not begun
        self._prefilling: deque[ReadCommand] = deque()  # begun; each is computed alone, chunk by chunk
        self._read_last: set[int] = set()  # the sequences of the last round, by identity
        self._in_use: set[int] = set()  # sequences with reads that are not background, until they are dropped
        self._background_at = 0.0  # when background reads get a round, whatever is in use; monotonic

    @property
    def is_idle(self) -> bool:
        """Whether nothing can be computed now."""
        return self.idle_s() > 0

    def idle_s(self) -> float:
        """Seconds until something can be computed if no read is added; infinity if nothing is pending."""
        waiting = [*self._asked, *self._prefilling]
        if not waiting:
            return math.inf
        if not all(map(self._is_put_off, waiting)):
            return 0.0
        return max(0.0, self._background_at - time.monotonic())

    def add(self, command: ReadCommand) -> None:
        """Queue a read."""
        self._asked.append(command)
        if not command.is_background:
            self._in_use.add(id(command.sequence))

    def drop_background(self) -> None:
        """Let all background reads fail."""
        self._refuse([command for command in (*self._asked, *self._prefilling) if command.is_background])

    def max_wait_s(self) -> float:
        """Seconds to wait for the last round's sequences, so that their next steps join the pending ones."""
        next_ones = [command for command in self._asked if not self._is_put_off(command)]
        if not next_ones or not all(map(self._is_put_off, self._prefilling)):
            return 0.0
        num_missing = len(self._read_last - {id(command.sequence) for command in self._asked})
        num_steps = len({id(command.sequence) for command in next_ones})
        return _WAIT_SHARE * self._costs.gain(num_steps, num_missing) if num_missing else 0.0

    def skip_step(self, sequence: Sequence) -> None:
        """No batch waits for a read of this sequence."""
        self._read_last.discard(id(sequence))

    def advance(self) -> None:
        """Compute one round: all pending steps, in as few batches as pay, and one chunk of one prefill."""
        has_turn = time.monotonic() >= self._background_at
        short = list(self._begun(has_turn=has_turn))
        long = next((command for command in self._prefilling if has_turn or not self._is_put_off(command)), None)
        carried_out = [*short, *([long] if long else [])]
        self._read_last = {id(command.sequence) for command in carried_out}
        for group in self._batches(short):
            self._compute_batch(group)
        if long:
            self._prefilling.remove(long)
            self._read_chunk(long)
        if any(command.is_background for command in carried_out):
            self._background_at = time.monotonic() + BACKGROUND_S

    def finish(self, sequence: Sequence) -> None:
        """Compute all pending reads of a sequence, before something else is done with it."""
        while left := [command for command in (*self._asked, *self._prefilling) if command.sequence is sequence]:
            for command in left:
                command.is_background = False  # another command waits for it
            self.advance()

    def drop(self, sequence: Sequence) -> None:
        """A session has dropped the sequence. Compute its pending steps, but not its prefill."""
        if any(command.sequence is sequence for command in self._asked):
            self.advance()
        self._refuse([command for command in (*self._asked, *self._prefilling) if command.sequence is sequence])
        self._read_last.discard(id(sequence))
        self._in_use.discard(id(sequence))

    def _refuse(self, commands: list[ReadCommand]) -> None:
        for command in commands:
            if command in self._prefilling:
                self._prefilling.remove(command)
            else:
                self._asked.remove(command)
                if not command.future.set_running_or_notify_cancel():
                    continue
            command.future.set_exception(MemberError(self._model.name, "exception", "the sequence was freed"))

    # --- which reads, in which order

    def _is_put_off(self, command: ReadCommand) -> bool:
        """Whether a read waits for a background round."""
        return command.is_background and bool(self._in_use)

    def _begun(self, *, has_turn: bool) -> Iterator[ReadCommand]:
        """The reads to batch now. Reads that need a prefill join `_prefilling`.

        A new sequence waits while another one of its namespace prefills, so that it can share that one's cache. A
        background read waits for its round.
        """
        asked, self._asked = self._asked, []
        prefilling = [command.sequence for command in self._prefilling]
        namespaces = {sequence.namespace for sequence in prefilling if isinstance(sequence, NamespacedSequence)}
        for command in asked:
            namespace = command.new_namespace
            if (namespace and namespace in namespaces) or (self._is_put_off(command) and not has_turn):
                self._asked.append(command)
                continue
            namespaces |= {namespace} if namespace else set()
            if self._is_wanted(command):
                if self._can_be_batched(command):
                    yield command
                else:
                    self._prefilling.append(command)

    def _can_be_batched(self, command: ReadCommand) -> bool:
        num_uncomputed = command.sequence.num_uncomputed
        if command.sequence.num_fixed is not None:
            return self._model.is_batch_invariant and num_uncomputed == 1
        return not self._chunk_size(command) and num_uncomputed <= self._model.max_batched_ids

    def _chunk_size(self, command: ReadCommand) -> int:
        """Size of the next prefill chunk; 0 = compute all at once."""
        sequence = command.sequence
        is_fixed = sequence.num_fixed is not None
        num_ids = self._model.fixed_chunk(sequence) if is_fixed else self._model.chunk_size
        return num_ids if sequence.num_uncomputed - command.read.num_logits >= num_ids else 0

    def _is_wanted(self, command: ReadCommand) -> bool:
        """Whether this read is still wanted and needs a forward pass. Its sequence has a slot then."""
        if not command.future.set_running_or_notify_cancel():
            return False
        try:
            known = self.prefix_cache.hold(command.read)
        except Exception as error:  # the session's to handle: the worker goes on
            command.future.set_exception(error)
            return False
        if known:
            command.future.set_result(known)
        return not known

    def _batches(self, commands: list[ReadCommand]) -> Iterator[list[ReadCommand]]:
        """The batches."""
        is_stepping = all(command.sequence.num_uncomputed == 1 for command in commands)
        start = 0
        for size in self._costs.sizes(len(commands)) if is_stepping else [len(commands)]:
            if size:
                yield commands[start : start + size]
            start += size

    # --- forward passes

    def _compute_batch(self, commands: list[ReadCommand]) -> None:
        """Compute one batch and deliver each result as soon as it is ready.

        If the batch fails, its undelivered reads are computed one by one, so that only the failing session ends.
        """
        is_stepping = all(command.sequence.num_uncomputed == 1 for command in commands)
        left = [(command, command.sequence.num_computed) for command in commands]
        try:
            for result in _taken(self._model, self._mapping, commands):
                self._deliver(*left.pop(0), result)
        except GacError as error:
            failure = error
        else:
            if is_stepping:
                self._costs.note(len(commands), result.seconds)
            return
        has_room = self._has_more_room([command for command, _ in left], failure)
        if len(commands) == 1 and not has_room:
            commands[0].future.set_exception(failure)
            return
        for command, length in left:
            self._compute_alone(command, length)

    def _read_chunk(self, command: ReadCommand) -> None:
        """Compute the next chunk of a prefill, or the remaining ids if they are fewer."""
        num_in_part = self._chunk_size(command)
        if not num_in_part:
            self._compute_batch([command])
            return
        length = command.sequence.num_computed
        try:
            self._compute_chunk(command, num_in_part)
        except GacError as error:
            if not self._has_more_room([command], error):
                command.future.set_exception(error)
                return
            try:
                self._rewind(command, length)
            except Exception as second:  # the session's to handle: the worker goes on
                command.future.set_exception(second)
            else:
                self._prefilling.appendleft(command)
            return
        self._prefilling.append(command)

    def _compute_chunk(self, command: ReadCommand, num_ids: int) -> None:
        """Compute the first uncomputed ids. Raises MemberError."""
        length, started = command.sequence.num_computed, time.monotonic()
        read_chunk(self._model, command.sequence, num_ids)
        self.prefix_cache.note_chunk(command.sequence, length)
        command.num_read += command.sequence.num_computed - length
        command.seconds += time.monotonic() - started

    def _has_more_room(self, commands: list[ReadCommand], error: GacError) -> bool:
        """Whether a failed forward pass lacked memory and the prefix cache could free some."""
        for command in commands:
            self.prefix_cache.distrust(command.sequence)
        _let_go(error)
        return isinstance(error, MemberError) and error.kind == "out-of-memory" and self.prefix_cache.give_up_kept()

    def _compute_alone(self, command: ReadCommand, length: int) -> None:
        """Compute one read of a failed batch alone, after the `length` ids computed before."""
        self.prefix_cache.distrust(command.sequence)
        try:
            self._rewind(command, length)
            [result] = _taken(self._model, self._mapping, [command])
        except Exception as error:  # the session's to handle: the worker goes on
            command.future.set_exception(error)
        else:
            command.future.set_result(_whole(command, result))

    def _rewind(self, command: ReadCommand, length: int) -> None:
        ids = list(command.sequence.ids)
        self._model.rewind(command.sequence, length)
        command.sequence.ids[:] = ids

    def _deliver(self, command: ReadCommand, length: int, result: ReadResult) -> None:
        self.prefix_cache.note(command.sequence, length, result)
        result.draft = draft_after(result, command.sequence, command.may_draft, self._mapping)
        if draft := result.draft:
            self.add(ReadCommand(Read(command.sequence), draft.future, draft.may_draft, command.is_background))
        command.future.set_result(_whole(command, result))


def _taken(model: Model, mapping: VocabMapping, commands: list[ReadCommand]) -> Iterator[ReadResult]:
    reads, may_draft = [command.read for command in commands], [command.may_draft for command in commands]
    return take_results(model, mapping, reads, may_draft)


def _let_go(error: BaseException | None) -> None:
    """Free the tensors held by the frames of a failed forward pass: a retry needs the memory."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _whole(command: ReadCommand, result: ReadResult) -> ReadResult:
    """Add the cost of its earlier chunks to a result."""
    if command.num_read:
        result.num_read += command.num_read
        result.seconds += command.seconds
    return result
