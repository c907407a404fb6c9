"""Decides which pending reads of one model share a forward pass. Called in the model's thread only.

Each round batches the pending steps, and then computes one long read: a chunk of one prefill, or
a text to be scored. So a step waits for at most one long read of another visitor. Whose turn it is, `FairQueue` says.
None of this changes what a read gives.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import InvalidStateError
from contextlib import suppress

from gac_app.decoding.forward import failure_of
from gac_app.errors import GacError, MemberError
from gac_app.executors.batch_computer import BatchComputer
from gac_app.executors.fair_queue import FairQueue, ReadCommand
from gac_app.executors.prefix_cache import NO_SLOT, PrefixCache, chat_prefix_of
from gac_app.models.base import Model
from gac_app.models.sequence import KVSequence, Share
from gac_app.vocab.mapping import VocabMapping

logger = logging.getLogger(__name__)

_WAIT_SHARE = 0.5  # share of the time saved by a larger batch that may be spent waiting for it
MAX_WAIT_S = 0.05  # of the first pending read


class BatchScheduler:
    """Takes reads and has them computed in batches; see `BatchComputer`."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self.prefix_cache = PrefixCache(model, chat_prefix_of(model))
        self._model = model
        self.computer = BatchComputer(model, mapping, self.prefix_cache)
        self._pending: list[ReadCommand] = []
        self._round: list[ReadCommand] = []  # what the round under way began with
        self._read_last: set[int] = set()  # the sequences of the last round, by identity
        self._late: set[int] = set()  # those that came back too late for a batch, such as members asked rarely
        self._turns = FairQueue(lambda: time.monotonic())
        self.pass_began_at: float | None = None  # monotonic; for any thread

    @property
    def is_idle(self) -> bool:
        """Whether nothing can be computed now."""
        return self.idle_s() > 0

    def idle_s(self) -> float:
        """Seconds until something can be computed if no read is added; infinity if nothing is pending."""
        namespaces = self._prefilling_namespaces
        first = {id(command.sequence): command for command in reversed(self._left())}  # of each sequence
        waiting = (one for one in first.values() if one.is_prefill or not _waits_for(one, namespaces))
        return min(map(self._turns.rest_s, waiting), default=math.inf)

    def add(self, command: ReadCommand) -> None:
        """Queue a read."""
        if self._turns.absent_s(command) > MAX_WAIT_S:
            self._late.add(id(command.sequence))
        else:
            self._late.discard(id(command.sequence))
        self._pending.append(command)
        self._turns.add(command)

    def refuse(self, share: Share) -> None:
        """Let all reads of a share fail."""
        self._refuse([command for command in self._pending if command.sequence.share[: len(share)] == share])

    def max_wait_s(self) -> float:
        """Seconds to wait for the last round's sequences, so that their next steps join the pending ones."""
        asked = [command for command in self._pending if not command.is_prefill]
        num_missing = len(self._read_last - self._late - {id(command.sequence) for command in asked})
        prefills = [command for command in self._prefilling if command.sequence.is_awaited]
        if not num_missing or not all(map(self._turns.rest_s, prefills)):
            return 0.0
        awaited = (command for command in asked if command.sequence.is_awaited)
        num_steps = len({id(command.sequence) for command in awaited if not self._turns.rest_s(command)})
        return max(0.0, _WAIT_SHARE * self._model.costs.gain(num_steps, num_missing)) if num_steps else 0.0

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Whether no other sequence is in use. Safe to call from any thread."""
        return self._turns.is_free_for(sequence)

    def advance(self) -> None:
        """Compute one round: a batch of all pending steps whose turn it is, and a chunk of one prefill. If it breaks,
        all its reads fail.
        """
        self._pending = self._left()
        self._round = [*self._pending]
        try:
            steps, long = self._next_reads()
            num_ids = self._chunk_size(long) if long else 0
            if steps:
                self._compute(steps)
            if long:
                self._compute([long], num_ids, is_long=True)
        except BaseException as error:  # whatever it is: those who wait are told, and the worker goes on
            logger.exception("a round of %s broke", self._model.name)
            self.break_off(failure_of(self._model, error))
        self._round, self._pending = [], self._left()

    def _left(self) -> list[ReadCommand]:
        return [command for command in self._pending if not command.future.done()]

    def break_off(self, why: GacError) -> None:
        """Let all reads fail, those of a broken round too."""
        self.computer.is_doubtful = True
        for command in {*self._round, *self._pending}:
            self.prefix_cache.invalidate(command.sequence)
            with suppress(InvalidStateError):  # it is done, or nobody waits
                command.future.set_exception(why)
        self._pending.clear()

    def _compute(self, reads: list[ReadCommand], num_ids: int = 0, *, is_long: bool = False) -> None:
        """Compute a pass, and charge its time to those whose reads these are.

        Args:
            num_ids: of the next chunk of the only read; 0 = all that is left of all reads.
        """
        is_read = False
        self.pass_began_at = begun_at = time.monotonic()
        try:
            if num_ids:
                is_read = self.computer.compute_chunk(reads[0], num_ids)
            else:
                self.computer.compute(reads)
        finally:
            self.pass_began_at = None
        seconds = time.monotonic() - begun_at
        self._turns.account(reads, seconds, is_long=is_long, chunk=num_ids * is_read)

    def free(self, sequence: KVSequence) -> None:
        """A session has dropped the sequence. Compute its pending steps, but not its prefill."""
        if any(command.sequence is sequence and not command.is_prefill for command in self._pending):
            self.advance()
        self._refuse([command for command in self._pending if command.sequence is sequence])
        self._read_last.discard(id(sequence))
        self._late.discard(id(sequence))
        self._turns.leave(sequence)
        self.prefix_cache.free(sequence)

    def _refuse(self, commands: list[ReadCommand]) -> None:
        for command in commands:
            self._pending.remove(command)
            if command.is_prefill or command.future.set_running_or_notify_cancel():
                command.future.set_exception(MemberError(self._model.name, "exception", "the sequence was freed"))

    # --- which reads

    def _next_reads(self) -> tuple[list[ReadCommand], ReadCommand | None]:
        """The steps of this round, and the prefill of which a chunk follows them."""
        for command in self._round:
            self._turns.add(command)  # it is still there
        steps = list(self._begun())
        long = self._turns.next_prefill(self._prefilling, steps)
        reads = [*steps, long] if long else steps
        self._read_last = {id(command.sequence) for command in reads if command.sequence.is_awaited}
        return steps, long

    def _begun(self) -> Iterator[ReadCommand]:
        """The reads to batch now. Those that need a prefill begin it, and stay pending."""
        for command in self._turns.next_steps(self._able()):
            if self._is_wanted(command):
                command.is_prefill = not self._can_be_batched(command)
                if not command.is_prefill:
                    self._pending.remove(command)
                    yield command

    def _able(self) -> Iterator[ReadCommand]:
        """The reads that could begin now, in order: the first of each sequence that does not rest. A new sequence waits
        while another one of its namespace prefills, or is about to, so that it can share that one's cache.
        """
        namespaces, busy = self._prefilling_namespaces, {id(command.sequence) for command in self._prefilling}
        for command in self._turns.in_order(one for one in self._pending if not one.is_prefill):
            sequence = command.sequence
            if waits := _waits_for(command, namespaces):
                sequence.waits_for = namespaces[sequence.namespace]
                if sequence.is_awaited:  # and what it waits for with it
                    sequence.waits_for.is_awaited = True
            if not (waits or id(sequence) in busy or self._turns.rest_s(command)):
                if sequence.slot == NO_SLOT:
                    namespaces[sequence.namespace] = sequence
                yield command
            busy.add(id(sequence))

    @property
    def _prefilling(self) -> list[ReadCommand]:
        return [command for command in self._pending if command.is_prefill]

    @property
    def _prefilling_namespaces(self) -> dict[str, KVSequence]:
        return {command.sequence.namespace: command.sequence for command in self._prefilling}

    def _can_be_batched(self, command: ReadCommand) -> bool:
        if command.sequence.fixed_chunk_prompt_len is not None:
            return self._model.is_batch_invariant and command.num_new == 1
        is_short = not self._chunk_size(command) and command.num_new <= self._model.max_batched_ids
        return is_short and not self._turns.is_chunked(command)

    def _chunk_size(self, command: ReadCommand) -> int:
        """Size of the next prefill chunk; 0 = compute all at once."""
        if command.sequence.fixed_chunk_prompt_len is None:
            return self._turns.next_chunk(command, self._model.chunk_size)
        num_ids = self._model.fixed_chunk(command.sequence)
        return num_ids if command.num_new - command.request.num_logits >= num_ids else 0

    def _is_wanted(self, command: ReadCommand) -> bool:
        """Whether this read is still wanted. Its sequence has a slot then."""
        if not command.future.set_running_or_notify_cancel():
            return False
        try:
            self.prefix_cache.allocate(command.request)
            command.num_new = self._model.take(command.request)
        except BaseException as error:  # deliver to the waiting session; keep the worker alive
            command.future.set_exception(failure_of(self._model, error))
            return False
        return True


def _waits_for(command: ReadCommand, namespaces: dict[str, KVSequence]) -> bool:
    """Whether it may continue from a sequence that prefills."""
    sequence = command.sequence
    return sequence.slot == NO_SLOT and sequence.namespace != "" and sequence.namespace in namespaces
