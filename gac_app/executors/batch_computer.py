"""Computes batches of reads, delivers their results, and keeps failures apart. Does not decide what is batched."""

from __future__ import annotations

import time
import traceback

from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.forward import compute, failures_named
from gac_app.errors import GacError, MemberError
from gac_app.executors.fair_queue import ReadCommand
from gac_app.executors.prefix_cache import NO_SLOT, PrefixCache
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest, KVSequence
from gac_app.vocab.mapping import VocabMapping


class BatchComputer:
    """Runs the forward passes of one model.

    Attributes:
        is_doubtful: the model has raised something since the last `probe`.
    """

    def __init__(self, model: Model, mapping: VocabMapping, prefix_cache: PrefixCache) -> None:
        self._model, self._mapping, self._prefix_cache = model, mapping, prefix_cache
        self.is_doubtful = False

    def compute(self, commands: list[ReadCommand]) -> None:
        """Compute one batch and deliver each result as soon as it is ready.

        If the batch fails, its undelivered reads are computed one by one, so that only the failing session ends.
        """
        left = [(command, command.sequence.ids) for command in commands]

        def deliver(result: ReadResult) -> None:
            command, _ = left.pop(0)
            command.future.set_result(_whole(command, result))

        try:
            compute(self._model, self._mapping, [command.request for command in commands], deliver)
            return
        except GacError as error:
            failure = error
        has_room = self._has_more_room(failure)
        if len(commands) == 1 and not has_room:
            self._fail(commands[0], failure)
        else:
            for command, ids in left:
                command.sequence.ids = ids  # as before the batch, some of which was computed
                self.compute([command])

    def compute_chunk(self, command: ReadCommand, num_ids: int) -> bool:
        """Compute the next chunk of a prefill. Returns whether that succeeded. Where memory was lacking and the prefix
        cache has freed some, the read is not done, and can be tried again.
        """
        started = time.monotonic()
        try:
            with failures_named(self._model):
                self._model.read([command.request.chunk(num_ids)])
            command.num_read, command.num_new = command.num_read + num_ids, command.num_new - num_ids
        except GacError as error:
            if not self._has_more_room(error):
                self._fail(command, error)
            return False
        command.seconds += time.monotonic() - started
        return True

    def probe(self) -> str:
        """Read one id. Returns why that fails, or an empty string; then the model is not doubtful."""
        sequence, why = KVSequence(NO_SLOT), ""
        try:
            self._prefix_cache.allocate_empty(sequence)
            try:
                compute(self._model, self._mapping, [ForwardRequest(sequence, (0,))], lambda _: None)
            finally:
                self._prefix_cache.free(sequence)
        except MemberError as error:
            why = "" if error.kind == "context" else error.message  # a full model is not broken
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"
        self.is_doubtful = bool(why)
        return why

    def _fail(self, command: ReadCommand, error: GacError) -> None:
        self._prefix_cache.invalidate(command.sequence)
        command.future.set_exception(error)

    def _has_more_room(self, error: GacError) -> bool:
        """Whether a failed forward pass lacked memory and the prefix cache could free some."""
        self.is_doubtful |= isinstance(error, MemberError) and error.kind == "exception"
        _clear_frames(error)
        return isinstance(error, MemberError) and error.kind == "out-of-memory" and self._prefix_cache.evict_kept()


def _clear_frames(error: BaseException | None) -> None:
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
