"""A member as decoding sees it: a model that answers in the union's ids.

`Member` is the seam to wherever the model runs. `InlineMember` runs it in the calling thread; `executors` has the ones
that run members in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from typing import Protocol

from gac_app.decoding.distribution.reading import Foreseen, Reading
from gac_app.decoding.forward import begun_behind, take_readings
from gac_app.errors import MemberError
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
