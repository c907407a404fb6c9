"""A worker thread per member: members run in parallel, and all reads that wait for one share its next forward pass.

torch and llama.cpp release the GIL while they compute.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from gac_app.decoding.member import ModelMember, Reading, take_readings
from gac_app.errors import MemberError
from gac_app.models.base import Model, Read, Sequence
from gac_app.vocab.mapping import VocabMapping

_CLOSE_TIMEOUT_S = 5.0
_CALL_TIMEOUT_S = 60.0  # for the short calls, which wait behind a forward pass


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
        self._thread = threading.Thread(target=self._serve, name=f"member-{model.name}", daemon=True)
        self._thread.start()

    def open(self, ids: list[int]) -> Sequence:
        sequence: Sequence = self._call(self._model.new_sequence)
        sequence.extend(ids)
        return sequence

    def read(self, sequence: Sequence, num_logits: int = 1) -> Future[Reading]:
        command = _ReadCommand(Read(sequence, num_logits), Future())
        self._commands.put(command)
        return command.future

    def fork(self, sequence: Sequence) -> Sequence:
        forked: Sequence = self._call(lambda: self._model.fork(sequence))
        return forked

    def rewind(self, sequence: Sequence, length: int) -> None:
        self._call(lambda: self._model.rewind(sequence, length))

    def free(self, sequence: Sequence) -> None:
        self._commands.put(_CallCommand(lambda: self._model.free(sequence), Future()))

    def close(self) -> None:
        """Finish what was asked, then release the model. A thread that hangs is left to the process's end."""
        self._commands.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)
        if not self._thread.is_alive():
            self._model.close()

    def _call(self, function: Callable[[], Any]) -> Any:
        command = _CallCommand(function, Future())
        self._commands.put(command)
        try:
            return command.future.result(_CALL_TIMEOUT_S)
        except TimeoutError:
            raise MemberError(self.name, "timeout", "is busy and did not answer in time") from None

    def _serve(self) -> None:
        while True:
            waiting = [self._commands.get()]
            while not self._commands.empty():
                waiting.append(self._commands.get())
            for kind, group in groupby(waiting, key=type):
                commands = list(group)
                if kind is _ReadCommand:
                    self._read_all([command for command in commands if isinstance(command, _ReadCommand)])
                for command in commands:
                    if command is None:
                        return
                    if isinstance(command, _CallCommand):
                        _fulfil(command.future, command.function)

    def _read_all(self, commands: list[_ReadCommand]) -> None:
        """One forward pass for all; where it fails, one each, so that only the culprit's session suffers."""
        commands = [command for command in commands if command.future.set_running_or_notify_cancel()]
        if not commands:
            return
        try:
            readings = take_readings(self._model, self._mapping, [command.read for command in commands])
        except MemberError as error:
            if len(commands) == 1:
                commands[0].future.set_exception(error)
                return
            for command in commands:
                alone: Future[Reading] = Future()
                self._read_all([_ReadCommand(command.read, alone)])
                if (failure := alone.exception()) is not None:
                    command.future.set_exception(failure)
                else:
                    command.future.set_result(alone.result())
            return
        for command, reading in zip(commands, readings, strict=True):
            command.future.set_result(reading)


def _fulfil(future: Future[Any], function: Callable[[], Any]) -> None:
    try:
        future.set_result(function())
    except Exception as error:  # the caller's to handle: the worker goes on
        future.set_exception(error)
