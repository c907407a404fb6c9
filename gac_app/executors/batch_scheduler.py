"""Decides which pending reads of one model share a forward pass, and in what order. Called in the model's thread only.

Each round batches the pending steps, as far as that pays, and then computes one chunk of one prefill. So a step waits
for at most one chunk of another visitor's prompt. Background reads wait while other sequences are in use, but get one
forward pass every few seconds, so that they finish.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import InvalidStateError
from contextlib import suppress

from gac_app.decoding.forward import failure_of
from gac_app.errors import GacError, MemberError
from gac_app.executors.batch_computer import BatchComputer
from gac_app.executors.batch_costs import BatchCosts
from gac_app.executors.prefix_cache import NamespacedSequence, PrefixCache, chat_prefix_of
from gac_app.executors.read_command import ReadCommand
from gac_app.models.base import Model, Sequence
from gac_app.vocab.mapping import VocabMapping

logger = logging.getLogger(__name__)

_WAIT_SHARE = 0.5  # share of the time saved by a larger batch that may be spent waiting for it
MAX_WAIT_S = 0.05  # of the first pending read
BACKGROUND_S = 5.0  # between two background rounds while other sequences are in use


class BatchScheduler:
    """Takes reads and has them computed in batches; see `BatchComputer`."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self.prefix_cache = PrefixCache(model, chat_prefix_of(model))
        self._model = model
        self.computer = BatchComputer(model, mapping, self.prefix_cache)
        self._costs = BatchCosts()
        self._asked: list[ReadCommand] = []  # not begun
        self._prefilling: deque[ReadCommand] = deque()  # begun; each is computed alone, chunk by chunk
        self._round: list[ReadCommand] = []  # what the round under way began with
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
        """Compute one round: all pending steps, in as few batches as pay, and one chunk of one prefill.

        If the round breaks, all its reads fail.
        """
        self._round = [*self._asked, *self._prefilling]
        try:
            self._advance()
        except BaseException as error:  # whatever it is: those who wait are told, and the worker goes on
            logger.exception("a round of %s broke", self._model.name)
            self.break_off(failure_of(self._model, error))
        self._round = []

    def break_off(self, why: GacError) -> None:
        """Let all reads fail, those of a broken round too."""
        self.computer.is_doubtful = True
        for command in {*self._round, *self._asked, *self._prefilling}:
            self.prefix_cache.distrust(command.sequence)
            with suppress(InvalidStateError):  # it is done, or nobody waits
                command.future.set_exception(why)
        self._asked.clear()
        self._prefilling.clear()

    def _advance(self) -> None:
        has_turn = time.monotonic() >= self._background_at
        short = list(self._begun(has_turn=has_turn))
        long = next((command for command in self._prefilling if has_turn or not self._is_put_off(command)), None)
        carried_out = [*short, *([long] if long else [])]
        self._read_last = {id(command.sequence) for command in carried_out}
        for group in self._batches(short):
            self._compute(group)
        if long:
            self._prefilling.remove(long)
            self._prefill(long)
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

    def _compute(self, commands: list[ReadCommand]) -> None:
        """Compute one batch, and queue the drafts after it."""
        is_stepping = all(command.sequence.num_uncomputed == 1 for command in commands)
        seconds = self.computer.compute(commands, self.add)
        if is_stepping and seconds is not None:
            self._costs.note(len(commands), seconds)

    def _prefill(self, command: ReadCommand) -> None:
        """Compute the next chunk of a prefill, or the remaining ids if they are fewer."""
        num_ids = self._chunk_size(command)
        if not num_ids:
            self._compute([command])
            return
        is_computed = self.computer.compute_chunk(command, num_ids)
        if is_computed:
            self._prefilling.append(command)
        elif is_computed is False:
            self._prefilling.appendleft(command)  # the next round tries it again

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
        except BaseException as error:  # the session's to handle: the worker continues
            command.future.set_exception(failure_of(self._model, error))
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
