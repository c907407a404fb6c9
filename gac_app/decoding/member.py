"""A member as decoding sees it: a model that answers in the union's ids.

`Member` is the seam to wherever the model runs. `InlineMember` runs it in the calling thread; `executors` has the ones
that run members in parallel.

Shape suffixes: `N` positions, `K` a member's favourites, `V` its own vocabulary, `U` the union.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from typing import NamedTuple, Protocol

import torch

from gac_app.decoding.gate import Favourite
from gac_app.decoding.ranking import top_k
from gac_app.decoding.row import OwnRow, Row
from gac_app.errors import GacError, MemberError
from gac_app.models.base import Model, Read, Sequence
from gac_app.models.message import Message
from gac_app.vocab.mapping import VocabMapping

TOP_K = 8  # favourites shown in traces
NUM_FAVOURITES = 2 * TOP_K  # kept per distribution: so many mostly tell what the members favour together

Prompt = str | SequenceOf[Message]  # a raw document, or a chat


class _Known(NamedTuple):
    rows: SequenceOf[Row]
    top_probs_NK: torch.Tensor
    top_ids_NK: torch.Tensor


class Reading:
    """A member's next-token distributions after one read, in the union.

    A late one is put there only when it is looked at, by whoever looks: a session of one member lets the member read on
    by its favourite before that.

    Attributes:
        num_read: ids read for it.
        seconds: of the forward pass, shared with what was batched into it.
    """

    __slots__ = ("_favourite", "_known", "_late_V", "_mapping", "num_read", "seconds")

    def __init__(self, mapping: VocabMapping, logits_NV: torch.Tensor, num_read: int, *, is_late: bool = False) -> None:
        """`logits_NV` are in the member's own ids. On a GPU, of several positions, and where the favourite cannot be
        told without, a reading is not late though it may be."""
        self.num_read = num_read
        self.seconds = 0.0
        self._mapping = mapping
        can_be_late = is_late and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        self._favourite = mapping.likeliest(logits_NV[0]) if can_be_late else None
        self._late_V = None if self._favourite is None else logits_NV[0].clone()
        self._known = _in_union(mapping, logits_NV) if self._favourite is None else None

    @property
    def rows(self) -> SequenceOf[Row]:
        """The distributions, by position."""
        return self._look().rows

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them as one tensor, which is made for whoever looks."""
        return torch.stack([row.probs_U for row in self.rows])

    @property
    def top_probs_NK(self) -> torch.Tensor:
        return self._look().top_probs_NK

    @property
    def top_ids_NK(self) -> torch.Tensor:
        return self._look().top_ids_NK

    @property
    def last_favourite(self) -> int:
        """The likeliest token at the last position."""
        return int(self.top_ids_NK[-1, 0]) if self._favourite is None else self._favourite

    @property
    def is_finite(self) -> bool:
        """Whether its logits are numbers. The first look at one, so a GPU's late errors come up here."""
        return self._favourite is not None or all(map(math.isfinite, self.top_probs_NK[:, 0].tolist()))

    def favourite(self, position: int, temperature: float) -> Favourite:
        """The likeliest token at one of the positions, as a gate of this temperature sees it."""
        found = Favourite(int(self.top_ids_NK[position, 0]), float(self.top_probs_NK[position, 0]))
        return found.scaled(self.rows[position], temperature)

    def again(self, num_positions: int) -> Reading:
        """The last `num_positions` for somebody else, who does not pay for them."""
        reading = copy(self)
        reading.num_read, reading.seconds = 0, 0.0
        rows, top_probs_NK, top_ids_NK = self._look()
        start = len(rows) - num_positions
        reading._known = _Known(rows[start:], top_probs_NK[start:], top_ids_NK[start:])
        return reading

    def _look(self) -> _Known:
        if self._known is None:
            assert self._late_V is not None  # noqa: S101 (it is late)
            self._known = _in_union(self._mapping, self._late_V.unsqueeze(0))
        return self._known


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> _Known:
    with torch.inference_mode():
        if len(logits_NV) == 1 and logits_NV.device.type == "cpu":
            probs_V = mapping.own_probs(logits_NV[0])
            row = OwnRow(mapping, probs_V)
            top_probs_NK, top_ids_NK = top_k(probs_V.unsqueeze(0), NUM_FAVOURITES)
            places_NK = mapping.places(top_ids_NK)
            if places_NK is None:  # of so small a vocabulary that improbable tokens are favourites, too
                top_probs_NK, places_NK = top_k(row.probs_U.unsqueeze(0), NUM_FAVOURITES)
            return _Known([row], top_probs_NK, places_NK)
        probs_NU = mapping.project(logits_NV)
        return _Known([Row(probs_U) for probs_U in probs_NU], *top_k(probs_NU, NUM_FAVOURITES))


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
    def engine(self) -> str:
        """What computes its answers: library, kind of device, precision."""

    @property
    def chat_stop_strings(self) -> tuple[str, ...]: ...

    def encode(self, prompt: Prompt) -> list[int]:
        """The member's own ids of a prompt."""

    def open(self, ids: list[int], scope: str = "") -> Sequence:
        """A sequence with `ids` pending. Where no more can be held, this or its first read raises MemberError.

        Args:
            scope: sequences of one scope may go on from what others of it have read; empty = this one shares nothing.
        """

    def read(self, sequence: Sequence, num_logits: int = 1, *, is_late: bool = False) -> Future[Reading]:
        """Read what is pending. The future raises MemberError where the member fails.

        Args:
            is_late: the reading may be a late one.
        """

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


def take_readings(model: Model, mapping: VocabMapping, reads: list[Read], are_late: SequenceOf[bool]) -> list[Reading]:
    """One forward pass for all `reads`, each distribution mapped into the union.

    Args:
        are_late: which of the readings may be late.

    Raises:
        MemberError: where the model fails or gives NaN or infinite logits; kind says which.
    """
    started = time.monotonic()
    counts = [read.sequence.num_pending for read in reads]
    with failures_named(model):
        for read in reads:
            model.catch_up(read.sequence)
        logits = model.read(reads)
        readings = [
            Reading(mapping, logits_NV, count, is_late=is_late)
            for logits_NV, count, is_late in zip(logits, counts, are_late, strict=True)
        ]
        if not all(reading.is_finite for reading in readings):
            raise MemberError(model.name, "non-finite", "its logits are not finite numbers (NaN or infinite)")
    seconds = time.monotonic() - started
    for reading in readings:
        reading.seconds = seconds
    return readings


def read_part(model: Model, sequence: Sequence, num_ids: int) -> None:
    """Read the first `num_ids` of what is pending, without a distribution. Raises MemberError as `take_readings`."""
    with failures_named(model):
        model.catch_up(sequence)
        model.read_part(sequence, num_ids)


@contextmanager
def failures_named(model: Model) -> Iterator[None]:
    """Whatever a back end raises ends this member's part, never the worker."""
    try:
        with torch.inference_mode():
            yield
    except GacError:
        raise
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()
        raise MemberError(model.name, "out-of-memory", "the device has no memory left for this step") from error
    except Exception as error:
        raise MemberError(model.name, "exception", f"{type(error).__name__}: {error}") from error


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
    def engine(self) -> str:
        return self._model.engine

    @property
    def chat_stop_strings(self) -> tuple[str, ...]:
        return self._model.chat_stop_strings

    def encode(self, prompt: Prompt) -> list[int]:
        return self._model.encode_raw(prompt) if isinstance(prompt, str) else self._model.encode_chat(list(prompt))


class InlineMember(ModelMember):
    """Runs its model in the calling thread: the plainest implementation, for tests and for comparison."""

    def open(self, ids: list[int], scope: str = "") -> Sequence:
        sequence = self._model.new_sequence()
        sequence.extend(ids)
        return sequence

    def read(self, sequence: Sequence, num_logits: int = 1, *, is_late: bool = False) -> Future[Reading]:
        future: Future[Reading] = Future()
        try:
            future.set_result(take_readings(self._model, self._mapping, [Read(sequence, num_logits)], [is_late])[0])
        except MemberError as error:
            future.set_exception(error)
        return future

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
