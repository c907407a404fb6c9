"""A member as decoding sees it: a model that answers in the union's ids.

`Member` is the seam to wherever the model runs. `InlineMember` runs it in the calling thread; `executors` has the ones
that run members in parallel.

Shape suffixes: `N` positions, `V` a member's own vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

import torch

from gac_app.decoding.reading import Ahead, Foreseen, Reading
from gac_app.errors import GacError, MemberError
from gac_app.models.base import Model, Read, Sequence
from gac_app.models.message import Message
from gac_app.vocab.mapping import VocabMapping

Prompt = str | SequenceOf[Message]  # a raw document, or a chat


class Member(Protocol):
    """One language model of the ensemble, wherever it runs. Methods may be called from any thread."""

    @property
    def name(self) -> str: ...

    @property
    def mapping(self) -> VocabMapping: ...

    @property
    def context_length(self) -> int: ...

    @property
    def is_chunk_exact(self) -> bool:
        """Whether reading several ids in one pass gives what reading them one by one gives, to float32 rounding."""

    @property
    def is_batch_invariant(self) -> bool:
        """Whether what a sequence gets is, to the last bit, the same whatever else is in the pass."""

    @property
    def is_chunk_invariant(self) -> bool:
        """Whether what a sequence gets is, to the last bit, the same however its ids are cut into passes."""

    @property
    def engine(self) -> str:
        """What computes its answers: library, kind of device, precision."""

    @property
    def chat_stop_strings(self) -> tuple[str, ...]: ...

    def encode(self, prompt: Prompt) -> list[int]:
        """The member's own ids of a prompt."""

    def open(self, ids: list[int], scope: str = "", *, is_reproducible: bool = False) -> Sequence:
        """A sequence with `ids`, its prompt, pending. Where no more can be held, this or its first read raises
        MemberError.

        Args:
            scope: sequences of one scope may go on from what others of it have read; empty = this one shares nothing.
            is_reproducible: what it gets may not depend on what else runs or ran, whatever that costs.
        """

    def read(self, sequence: Sequence, num_logits: int = 1, foreseen: Foreseen | None = None) -> Future[Reading]:
        """Read what is pending. The future raises MemberError where the member fails.

        Args:
            foreseen: the reading may be a late one, and the member may read on by itself: `Reading.ahead` says so. Else
                nothing but what is asked for is read.
        """

    def sit_out(self, sequence: Sequence) -> None:
        """Say that the next step needs no read of this sequence, as far as is known: no shared pass waits for it."""

    def fork(self, sequence: Sequence) -> Sequence:
        """A second sequence with the same ids and cache."""

    def rewind(self, sequence: Sequence, length: int) -> None:
        """Forget all but the first `length` ids."""

    def free(self, sequence: Sequence) -> None:
        """Give the sequence's memory back, after whatever is still being read for it; with a scope, maybe later."""

    def forget(self, scope: str) -> None:
        """Give back what is kept of this scope and of those below it ("a" of "a/b"); nothing more of them is kept."""

    def close(self) -> None:
        """Release the model."""


def take_readings(
    model: Model, mapping: VocabMapping, reads: list[Read], foreseen: SequenceOf[Foreseen | None]
) -> Iterator[Reading]:
    """One forward pass for all `reads`, then, one after the other, each read's distributions mapped into the union.

    On a CPU the next one is begun when it is asked for, so that whoever waits for the first goes on meanwhile.

    Args:
        foreseen: per read; None = its reading may not be late.

    Raises:
        MemberError: where the model fails or gives NaN or infinite logits; kind says which.
    """
    started = time.monotonic()
    counts = [read.sequence.num_pending for read in reads]
    with failures_named(model):
        for read in reads:
            model.catch_up(read.sequence)
        is_fixed = len(reads) == 1 and reads[0].sequence.num_fixed is not None
        logits = [_read_in_fixed_passes(model, *reads)] if is_fixed else model.read(reads)
    elsewhere_s = 0.0  # while others use what they were given
    for reading in _readings(model, mapping, zip(logits, counts, foreseen, strict=True)):
        handed_over = time.monotonic()
        reading.seconds = handed_over - started - elsewhere_s
        yield reading
        elsewhere_s += time.monotonic() - handed_over


def _readings(
    model: Model, mapping: VocabMapping, parts: Iterable[tuple[torch.Tensor, int, Foreseen | None]]
) -> Iterator[Reading]:
    if model.device.type == "cpu":
        for logits_NV, count, foreseen in parts:
            try:  # not `failures_named`, whose context managers take a tenth of what a step adds
                reading = Reading(mapping, logits_NV, count, foreseen)
                _check(model, reading)
            except GacError:
                raise
            except Exception as error:
                raise _failure(model, error) from error
            yield reading
        return
    with failures_named(model):  # a check waits for the device: all is asked of it before
        readings = [Reading(mapping, *part) for part in parts]
    for reading in readings:
        with failures_named(model):
            _check(model, reading)
        yield reading


def _check(model: Model, reading: Reading) -> None:
    if not reading.is_finite:
        raise MemberError(model.name, "non-finite", "its logits are not finite numbers (NaN or infinite)")


def begun_behind(
    reading: Reading, sequence: Sequence, foreseen: Foreseen | None, mapping: VocabMapping
) -> Ahead | None:
    """The pass that a member begins by itself behind a reading, its ids put behind the sequence; None = it does not."""
    if foreseen is None or not foreseen.is_met_by(reading.last_favourite):
        return None
    ids = mapping.feed(reading.last_favourite)
    if not ids:  # END
        return None
    sequence.extend(list(ids))
    return Ahead(ids)


def read_part(model: Model, sequence: Sequence, num_ids: int) -> None:
    """Read the first `num_ids` of what is pending, without a distribution. Raises MemberError as `take_readings`."""
    with failures_named(model):
        model.catch_up(sequence)
        model.read_part(sequence, num_ids)


def _read_in_fixed_passes(model: Model, read: Read) -> torch.Tensor:
    """The logits that are asked for, `[num_logits, V]`, by as many passes as it takes."""
    sequence = read.sequence
    found: list[torch.Tensor] = []
    first_wanted = len(sequence.ids) - read.num_logits
    while num_ids := min(model.fixed_part(sequence), sequence.num_pending):
        num_wanted = min(num_ids, sequence.num_valid + num_ids - first_wanted)
        if num_ids == sequence.num_pending and not found:
            return model.read([Read(sequence, num_wanted)])[0]
        rest = sequence.ids[sequence.num_valid + num_ids :]
        del sequence.ids[sequence.num_valid + num_ids :]
        try:
            [logits_NV] = model.read([Read(sequence, max(1, num_wanted))])
        finally:
            sequence.ids += rest
        if num_wanted > 0:
            found.append(logits_NV.clone())  # the next pass overwrites them
    return torch.cat(found)


@contextmanager
def failures_named(model: Model) -> Iterator[None]:
    """Whatever a back end raises ends this member's part, never the worker."""
    try:
        with torch.inference_mode():
            yield
    except GacError:
        raise
    except Exception as error:
        raise _failure(model, error) from error


def _failure(model: Model, error: Exception) -> MemberError:
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return MemberError(model.name, "out-of-memory", "the device has no memory left for this step")
    return MemberError(model.name, "exception", f"{type(error).__name__}: {error}")


def awaited(member: Member, reading: Future[Reading], timeout_s: float | None) -> Reading:
    """Raises MemberError where the read failed, or takes longer than `timeout_s`."""
    try:
        return reading.result(timeout_s)
    except TimeoutError:
        reading.cancel()
        raise MemberError(member.name, "timeout", "gave no answer in time") from None


class ModelMember:
    """What every member that owns its model in this process shares: facts and tokenising."""

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self._model = model
        self._mapping = mapping.to(model.device)

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def model(self) -> Model:
        """Whoever looks at it leaves its sequences alone: it may be at work in a thread of its own."""
        return self._model

    @property
    def mapping(self) -> VocabMapping:
        return self._mapping

    @property
    def context_length(self) -> int:
        return self._model.context_length

    @property
    def is_chunk_exact(self) -> bool:
        return self._model.is_chunk_exact

    @property
    def is_batch_invariant(self) -> bool:
        return self._model.is_batch_invariant

    @property
    def is_chunk_invariant(self) -> bool:
        return self._model.is_chunk_invariant

    @property
    def engine(self) -> str:
        return self._model.engine

    @property
    def chat_stop_strings(self) -> tuple[str, ...]:
        return self._model.chat_stop_strings

    def num_fixed(self, ids: list[int], *, is_reproducible: bool) -> int | None:
        """Of a sequence with this prompt: `Sequence.num_fixed`. An invariant model needs no fixed passes."""
        is_invariant = self.is_batch_invariant and self.is_chunk_invariant
        return len(ids) if is_reproducible and not is_invariant else None

    def encode(self, prompt: Prompt) -> list[int]:
        return self._model.encode_raw(prompt) if isinstance(prompt, str) else self._model.encode_chat(list(prompt))


class InlineMember(ModelMember):
    """Runs its model in the calling thread: the plainest implementation, for tests and for comparison."""

    def open(self, ids: list[int], scope: str = "", *, is_reproducible: bool = False) -> Sequence:
        sequence = self._model.new_sequence()
        sequence.extend(ids)
        sequence.num_fixed = self.num_fixed(ids, is_reproducible=is_reproducible)
        return sequence

    def read(self, sequence: Sequence, num_logits: int = 1, foreseen: Foreseen | None = None) -> Future[Reading]:
        future: Future[Reading] = Future()
        self._carry_out(Read(sequence, num_logits), foreseen, future)
        return future

    def _carry_out(self, read: Read, foreseen: Foreseen | None, future: Future[Reading]) -> None:
        try:
            reading = next(take_readings(self._model, self._mapping, [read], [foreseen]))
        except MemberError as error:
            future.set_exception(error)
            return
        reading.ahead = begun_behind(reading, read.sequence, foreseen, self._mapping)
        if reading.ahead:
            self._carry_out(Read(read.sequence), reading.ahead.foreseen, reading.ahead.reading)
        future.set_result(reading)

    def sit_out(self, sequence: Sequence) -> None:
        """No pass is shared."""

    def fork(self, sequence: Sequence) -> Sequence:
        return self._model.fork(sequence)

    def rewind(self, sequence: Sequence, length: int) -> None:
        self._model.rewind(sequence, length)

    def free(self, sequence: Sequence) -> None:
        self._model.free(sequence)

    def forget(self, scope: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        self._model.close()
