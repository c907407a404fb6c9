"""A worker thread per member. Members compute in parallel; pending reads of one member are batched.

torch, llama.cpp and onnxruntime release the GIL while they compute.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from weakref import WeakSet

from gac_app.decoding.contexts import get_within
from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.forward import failure_of
from gac_app.decoding.member import Member
from gac_app.errors import GacError, MemberError
from gac_app.executors.batch_scheduler import MAX_WAIT_S, BatchScheduler
from gac_app.executors.fair_queue import ReadCommand
from gac_app.executors.prefix_cache import NO_SLOT, Kept
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping

logger = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 5.0
_CLOSED = "has been closed"
PROBE_S = 5.0  # between two probes of a model that fails


Command = ReadCommand | Callable[[], None] | None  # a read, a call in the worker's thread, or the end


class ThreadMember(Member):
    """A member whose model is owned by one thread, which takes commands in order."""

    reads_ahead = True

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        super().__init__(model, mapping)
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._why_closed = ""  # empty while commands are taken
        self._scheduler = BatchScheduler(model, mapping)  # the worker's
        self._lock = threading.RLock()  # a session that is collected frees its sequences, within `_put` too
        self._opened = WeakSet[KVSequence]()
        self._thread = threading.Thread(target=self._serve, name=f"member-{model.name}", daemon=True)
        self._thread.start()

    def why_unready(self, timeout_s: float) -> str:
        began_at = self._scheduler.pass_began_at
        is_hanging = began_at is not None and time.monotonic() - began_at > timeout_s
        return f"hangs: one pass takes more than {timeout_s:g} s" if is_hanging else self.failure

    @property
    def kept(self) -> Kept:
        """What the prefix cache keeps of ended sessions."""
        return self._scheduler.prefix_cache.kept

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        """See `Member`. The sequence gets its slot with the first read, so this call never waits."""
        fixed_chunk_prompt_len = self.fixed_chunk_prompt_len(ids, is_reproducible=is_reproducible)
        sequence = KVSequence(
            NO_SLOT, tuple(ids), fixed_chunk_prompt_len=fixed_chunk_prompt_len, share=share, namespace=namespace
        )
        with self._lock:
            self._opened.add(sequence)
        return sequence

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        command = ReadCommand(request, Future())
        self._put(command)
        time.sleep(0)  # lets the worker take the GIL
        return command.future

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Whether no other answer uses this member."""
        return self._scheduler.is_free_for(sequence)

    def free(self, sequence: KVSequence) -> None:
        if not self._why_closed:  # a stream left open is collected after that, when Python itself is ending
            self._put(lambda: self._scheduler.free(sequence))

    def forget(self, namespace: str) -> None:
        with self._lock:
            opened = list(self._opened)
        self._put(lambda: self._scheduler.prefix_cache.forget(namespace, opened))

    def add_view(self, prefixes: list[tuple[int, ...]]) -> None:
        """See `PrefixCache`."""
        self._put(lambda: self._scheduler.prefix_cache.add_view(prefixes))

    def refuse(self, share: Share) -> None:
        """Fail all pending reads of a share."""
        self._put(lambda: self._scheduler.refuse(share))

    def close(self) -> None:
        """Let the worker finish pending commands and release the model. Waits for a while, but not for itself."""
        with self._lock:
            if self._why_closed == _CLOSED:
                return
            self._why_closed = _CLOSED
            self._commands.put(None)
        if threading.current_thread() is not self._thread:  # it may be the one that collects garbage
            self._thread.join(_CLOSE_TIMEOUT_S)

    def _put(self, command: Command) -> None:
        with self._lock:
            if not self._why_closed:
                self._commands.put(command)
                return
        _fail(command, MemberError(self.name, "exception", self._why_closed))

    # --- in the worker's thread

    def _serve(self) -> None:
        """Serve until the member is closed. After a fault outside rounds and calls it refuses everything."""
        try:
            self._serve_until_closed()
        except BaseException as error:
            logger.exception("the worker of %s has ended", self.name)
            rest_s = 0 if self._why_closed == _CLOSED else math.inf
            with self._lock:
                self._why_closed = self.failure = f"its worker has ended: {type(error).__name__}: {error}"
            why = MemberError(self.name, "exception", self.failure)
            self._scheduler.break_off(why)
            with suppress(queue.Empty):
                while command := self._command_within(rest_s):
                    _fail(command, why)
        self.model.close()

    def _serve_until_closed(self) -> None:
        while self._take_commands():
            if not self._scheduler.is_idle:
                self._scheduler.advance()
            if self._scheduler.computer.is_doubtful:
                self.failure = self._scheduler.computer.probe()
        while not self._scheduler.is_idle:
            self._scheduler.advance()
        self._scheduler.break_off(MemberError(self.name, "exception", _CLOSED))  # prefills that rest

    def _take_commands(self) -> bool:
        """Take commands in order. Returns False once the member is closed.

        Waits when there is nothing to do, and briefly when more reads could join the next batch.
        """
        idle_s, deadline = self._scheduler.idle_s(), time.monotonic() + MAX_WAIT_S
        with suppress(queue.Empty):
            if idle_s:
                command = self._command_within(min(idle_s, PROBE_S) if self.failure else idle_s)
                deadline = time.monotonic() + MAX_WAIT_S
            else:  # what was left of the last round waits for those that were in it, too
                command = self._command_within(min(self._scheduler.max_wait_s(), MAX_WAIT_S))
            while command:
                self._carry_out(command)
                command = self._command_within(max(0.0, min(self._scheduler.max_wait_s(), deadline - time.monotonic())))
            return False
        return True

    def _command_within(self, seconds: float) -> Command:
        """The next command. Raises queue.Empty if none comes."""
        if seconds == math.inf:
            return self._commands.get()
        return get_within(self._commands, seconds)

    def _carry_out(self, command: ReadCommand | Callable[[], None]) -> None:
        try:
            if isinstance(command, ReadCommand):
                self._scheduler.add(command)
            else:
                command()
        except BaseException as error:  # the worker continues
            logger.exception("a call of the worker of %s failed", self.name)
            _fail(command, failure_of(self.model, error))


def _fail(command: Command, why: GacError) -> None:
    """Tell who waits, if somebody does."""
    if isinstance(command, ReadCommand):
        with suppress(InvalidStateError):  # cancelled
            command.future.set_exception(why)
