"""A worker thread per member: members run in parallel, and all reads that wait for one share its next forward pass.

torch and llama.cpp release the GIL while they compute.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from gac_app.decoding.member import ModelMember, Reading, take_readings
from gac_app.errors import GacError, MemberError
from gac_app.executors.shared_prefixes import UNHELD, ScopedSequence, SharedPrefixes
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping

_CLOSE_TIMEOUT_S = 5.0
_CALL_TIMEOUT_S = 60.0  # for the short calls, which wait behind a forward pass
_PATIENCE = 0.25  # of a forward pass: how long it may wait for more sequences to share it
_MAX_PATIENCE_S = 0.01


@dataclass(frozen=True, slots=True)
class _ReadCommand:
    read: Read
    future: Future[Reading]


@dataclass(frozen=True, slots=True)
class _CallCommand:
    function: Callable[[], Any]
    future: Future[Any]


class ThreadMember(ModelMember):
    """A member whose model is owned by one thread; commands are carried out in the order they came."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        super().__init__(model, mapping)
        self._commands: queue.SimpleQueue[_ReadCommand | _CallCommand | None] = queue.SimpleQueue()
        self._is_closed = False
        self._prefixes = SharedPrefixes(model)  # the worker's
        self._read_last: set[int] = set()  # the sequences of the last pass, by identity
        self._patience_s = 0.0  # how long those are waited for
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name=f"member-{model.name}", daemon=True)
        self._thread.start()

    def open(self, ids: list[int], scope: str = "") -> Sequence:
        """A sequence with `ids` pending. The model takes it in with the first read, so nobody waits for it here."""
        return ScopedSequence(UNHELD, list(ids), scope=scope) if scope else Sequence(UNHELD, list(ids))

    def read(self, sequence: Sequence, num_logits: int = 1) -> Future[Reading]:
        command = _ReadCommand(Read(sequence, num_logits), Future())
        self._put(command)
        return command.future

    def fork(self, sequence: Sequence) -> Sequence:
        def fork() -> Sequence:
            self._prefixes.hold_empty(sequence)
            return self._model.fork(sequence)

        forked: Sequence = self._call(fork)
        return forked

    def rewind(self, sequence: Sequence, length: int) -> None:
        def rewind() -> None:
            self._prefixes.hold_empty(sequence)
            self._model.rewind(sequence, length)
            self._prefixes.rewound(sequence)

        self._call(rewind)

    def free(self, sequence: Sequence) -> None:
        self._put(_CallCommand(lambda: self._prefixes.free(sequence), Future()))

    def forget(self, scope: str) -> None:
        self._put(_CallCommand(lambda: self._prefixes.forget(scope), Future()))

    def close(self) -> None:
        """Finish what was asked, then release the model. A thread that hangs is left to the process's end."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._commands.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._model.close()

    def _put(self, command: _ReadCommand | _CallCommand) -> None:
        with self._lock:
            if not self._is_closed:
                self._commands.put(command)
                return
        command.future.set_exception(MemberError(self.name, "exception", "has been closed"))

    def _call(self, function: Callable[[], Any]) -> Any:
        command = _CallCommand(function, Future())
        self._put(command)
        try:
            return command.future.result(_CALL_TIMEOUT_S)
        except TimeoutError:
            command.future.cancel()
            raise MemberError(self.name, "timeout", "is busy and did not answer in time") from None

    # --- in the worker's thread

    def _serve(self) -> None:
        while True:
            waiting = self._next_commands()
            for kind, group in groupby(waiting, key=type):
                commands = list(group)
                if kind is _ReadCommand:
                    self._read_all([command for command in commands if isinstance(command, _ReadCommand)])
                for command in commands:
                    if command is None:
                        return
                    if isinstance(command, _CallCommand) and command.future.set_running_or_notify_cancel():
                        _fulfil(command.future, command.function)

    def _next_commands(self) -> list[_ReadCommand | _CallCommand | None]:
        """What waits. Sequences read in the last pass are waited for a moment: read together they cost little more."""
        waiting = [self._commands.get()]
        deadline = time.monotonic() + self._patience_s
        while True:
            while not self._commands.empty():
                waiting.append(self._commands.get())
            reads = {id(command.read.sequence) for command in waiting if isinstance(command, _ReadCommand)}
            if len(reads) < len(waiting) or self._read_last <= reads:
                return waiting
            try:
                waiting.append(self._commands.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                return waiting

    def _read_all(self, commands: list[_ReadCommand]) -> None:
        """One forward pass for all but those that may go on from what another new one of their scope reads in it."""
        now: list[_ReadCommand] = []
        later: list[_ReadCommand] = []
        scopes: set[str] = set()
        for command in commands:
            sequence = command.read.sequence
            scope = sequence.scope if isinstance(sequence, ScopedSequence) and sequence.slot == UNHELD else ""
            (later if scope in scopes else now).append(command)
            scopes |= {scope} if scope else set()
        self._read_together(now)
        if later:
            self._read_all(later)
        self._read_last = {id(command.read.sequence) for command in commands}

    def _read_together(self, commands: list[_ReadCommand]) -> None:
        """One forward pass; where it fails, one each, so that only the culprit's session suffers."""
        commands = [command for command in commands if self._is_wanted(command)]
        if not commands:
            return
        started = time.monotonic()
        lengths = [command.read.sequence.num_valid for command in commands]
        try:
            readings = take_readings(self._model, self._mapping, [command.read for command in commands])
        except GacError as error:
            for command in commands:
                self._prefixes.distrust(command.read.sequence)
            has_more_room = (
                isinstance(error, MemberError) and error.kind == "out-of-memory" and self._prefixes.give_up_kept()
            )
            if len(commands) == 1 and not has_more_room:
                commands[0].future.set_exception(error)
                return
            for command, length in zip(commands, lengths, strict=True):
                _fulfil(command.future, partial(self._read_again, command.read, length))
            return
        self._patience_s = min(_PATIENCE * (time.monotonic() - started), _MAX_PATIENCE_S)
        for command, length, reading in zip(commands, lengths, readings, strict=True):
            self._prefixes.note(command.read.sequence, length, reading)
            command.future.set_result(reading)

    def _is_wanted(self, command: _ReadCommand) -> bool:
        """Whether somebody still waits for this read, and a pass is needed for it; its sequence is held then."""
        if not command.future.set_running_or_notify_cancel():
            return False
        try:
            known = self._prefixes.hold(command.read)
        except Exception as error:  # the session's to handle: the worker goes on
            command.future.set_exception(error)
            return False
        if known:
            command.future.set_result(known)
        return not known

    def _read_again(self, read: Read, length: int) -> Reading:
        """Read by itself what was part of a failed pass, from the `length` ids that were cached before that."""
        ids = list(read.sequence.ids)
        self._model.rewind(read.sequence, length)
        read.sequence.ids[:] = ids
        return take_readings(self._model, self._mapping, [read])[0]


def _fulfil(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:  # the caller's to handle: the worker goes on
        future.set_exception(error)
