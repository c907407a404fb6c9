"""A worker thread per member. Members compute in parallel; pending reads of one member are batched.

torch, llama.cpp and onnxruntime release the GIL while they compute.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from gac_app.decoding.distribution import MayDraft, ReadResult
from gac_app.decoding.member import ModelMember
from gac_app.errors import MemberError
from gac_app.executors.batch_scheduler import MAX_WAIT_S, BatchScheduler
from gac_app.executors.prefix_cache import UNHELD, Kept, NamespacedSequence
from gac_app.executors.read_command import ReadCommand
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping

_CLOSE_TIMEOUT_S = 5.0
_CALL_TIMEOUT_S = 60.0  # of short calls, which wait for a forward pass


@dataclass(frozen=True, slots=True)
class _CallCommand:
    """A short call. A call about a sequence comes after all earlier reads of that sequence."""

    function: Callable[[], Any]
    future: Future[Any]
    sequence: Sequence | None = None
    is_last: bool = False  # the sequence is no longer wanted


_CLOSE = _CallCommand(lambda: None, Future())


class ThreadMember(ModelMember):
    """A member whose model is owned by one thread, which takes commands in order."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        super().__init__(model, mapping)
        self._commands: queue.SimpleQueue[ReadCommand | _CallCommand] = queue.SimpleQueue()
        self._is_closed = False
        self._scheduler = BatchScheduler(model, mapping)  # the worker's
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name=f"member-{model.name}", daemon=True)
        self._thread.start()

    @property
    def kept(self) -> Kept:
        """What the prefix cache keeps of ended sessions."""
        return self._scheduler.prefix_cache.kept

    def open(self, ids: list[int], namespace: str = "", *, is_reproducible: bool = False) -> Sequence:
        """A sequence with `ids` uncomputed. It gets its slot with the first read, so this call never waits."""
        num_fixed = self.num_fixed(ids, is_reproducible=is_reproducible)
        return NamespacedSequence(UNHELD, list(ids), num_fixed=num_fixed, namespace=namespace)

    def read(
        self,
        sequence: Sequence,
        num_logits: int = 1,
        may_draft: MayDraft | None = None,
        *,
        is_background: bool = False,
    ) -> Future[ReadResult]:
        """See `Member`. In the background it waits while other sequences are in use (see `BatchScheduler`)."""
        command = ReadCommand(Read(sequence, num_logits), Future(), may_draft, is_background)
        self._put(command)
        time.sleep(0)  # lets the worker take the GIL
        return command.future

    def skip_step(self, sequence: Sequence) -> None:
        self._put(_CallCommand(lambda: self._scheduler.skip_step(sequence), Future()))

    def is_free_for(self, sequence: Sequence) -> bool:
        """Whether no other answer uses this member."""
        return self._scheduler.is_free_for(sequence)

    def fork(self, sequence: Sequence) -> Sequence:
        forked: Sequence = self._call(lambda: self._scheduler.prefix_cache.fork(sequence), sequence)
        return forked

    def rewind(self, sequence: Sequence, length: int) -> None:
        def rewind() -> None:
            self._scheduler.prefix_cache.hold_empty(sequence)
            self._model.rewind(sequence, length)
            self._scheduler.prefix_cache.rewound(sequence)

        self._call(rewind, sequence)

    def free(self, sequence: Sequence) -> None:
        self._put(_CallCommand(lambda: self._scheduler.prefix_cache.free(sequence), Future(), sequence, is_last=True))

    def forget(self, namespace: str) -> None:
        self._put(_CallCommand(lambda: self._scheduler.prefix_cache.forget(namespace), Future()))

    def drop_background(self) -> None:
        """Fail all pending background reads."""
        self._put(_CallCommand(self._scheduler.drop_background, Future()))

    def close(self) -> None:
        """Finish pending commands, then release the model. A thread that hangs ends with the process."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._commands.put(_CLOSE)
        self._thread.join(_CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._model.close()

    def _put(self, command: ReadCommand | _CallCommand) -> None:
        with self._lock:
            if not self._is_closed:
                self._commands.put(command)
                return
        command.future.set_exception(MemberError(self.name, "exception", "has been closed"))

    def _call(self, function: Callable[[], Any], sequence: Sequence | None = None) -> Any:
        command = _CallCommand(function, Future(), sequence)
        self._put(command)
        try:
            return command.future.result(_CALL_TIMEOUT_S)
        except TimeoutError:
            command.future.cancel()
            raise MemberError(self.name, "timeout", "is busy and did not answer in time") from None

    # --- in the worker's thread

    def _serve(self) -> None:
        while self._take_commands():
            if not self._scheduler.is_idle:
                self._scheduler.advance()
        self._scheduler.drop_background()
        while not self._scheduler.is_idle:
            self._scheduler.advance()

    def _take_commands(self) -> bool:
        """Take commands in order. Returns False once the member is closed.

        Waits when there is nothing to do, and briefly when more reads could join the next batch.
        """
        command = self._command_within(self._scheduler.idle_s())
        deadline = time.monotonic() + MAX_WAIT_S
        while command is not None:
            if command is _CLOSE:
                return False
            self._carry_out(command)
            command = self._command_within(max(0.0, min(self._scheduler.max_wait_s(), deadline - time.monotonic())))
        return True

    def _command_within(self, seconds: float) -> ReadCommand | _CallCommand | None:
        try:
            if seconds == math.inf:
                return self._commands.get()
            return self._commands.get(timeout=seconds) if seconds else self._commands.get_nowait()
        except queue.Empty:
            return None

    def _carry_out(self, command: ReadCommand | _CallCommand) -> None:
        if isinstance(command, ReadCommand):
            self._scheduler.add(command)
            return
        if command.sequence is not None:
            (self._scheduler.drop if command.is_last else self._scheduler.finish)(command.sequence)
        if command.future.set_running_or_notify_cancel():
            _fulfil(command.future, command.function)


def _fulfil(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:  # the caller's to handle: the worker continues
        future.set_exception(error)
