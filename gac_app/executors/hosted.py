"""A model that another process holds: the two sides of that seam, whatever carries the messages between them.

`HostedModel` is this side. It has the tokeniser, and asks a `Host` for logits. `ModelHost` is the other side, around
the model itself. A message has the number of ids that precede it in its sequence, and their checksum. Messages are
idempotent; on a prefix mismatch, as after a restart, the whole sequence is resent.
"""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from array import array
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from gac_app.decoding.forward import failures_named
from gac_app.errors import ModelLoadError
from gac_app.models.backends import LoadRequest
from gac_app.models.base import Model
from gac_app.models.factory import random_model
from gac_app.models.hf import TokenizedModel
from gac_app.models.llama_cpp.gguf_model import DescribedGguf
from gac_app.models.random_model import RandomModel
from gac_app.models.remote.model import without_weights
from gac_app.models.sequence import ForwardRequest, KVSequence
from gac_app.vocab.tokens import MemberVocabulary

# What this side says of itself as the model does.
_SAID = (
    "engine",
    "about",
    "context_length",
    "bytes_per_id",
    "chunk_size",
    "max_batched_ids",
    "is_chunk_consistent",
    "is_chunk_invariant",
    "is_batch_invariant",
)


class SlotRead(NamedTuple):
    """A read of one sequence.

    Attributes:
        slot: of the sequence, on the asking side.
        start: how many of its ids come before `ids`.
        checksum: of those.
        num_logits: how many trailing positions are wanted.
        fixed_chunk_prompt_len: see `KVSequence`.
    """

    slot: int
    start: int
    checksum: int
    ids: list[int]
    num_logits: int
    fixed_chunk_prompt_len: int | None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host tells of its model.

    Attributes:
        said: attributes of a `Model`.
        vocabulary: a digest of it.
    """

    said: dict[str, Any]
    vocabulary: str


class Host(ABC):
    """Whoever holds a model. Calls come from one thread, and raise MemberError."""

    @abstractmethod
    def facts(self) -> HostFacts:
        """The model's facts, once it is loaded."""

    @abstractmethod
    def step(self, reads: list[SlotRead]) -> list[np.ndarray | None]:
        """Compute some sequences in one forward pass.

        Returns:
            per read, float32 logits of shape [num_logits, V]; None = the ids before are others, and nothing was done.
        """

    @abstractmethod
    def copy(self, slot: int, other: int) -> None:
        """Copy the KV cache of a slot to another slot."""

    @abstractmethod
    def free(self, slot: int) -> None:
        """Drop the KV cache of a slot."""

    @abstractmethod
    def close(self) -> None:
        """Release the model."""


class ModelHost(Host):
    """Holds a model in this process."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._held: dict[int, KVSequence] = {}  # by the asking side's slot

    def facts(self) -> HostFacts:
        said = {name: getattr(self._model, name) for name in _SAID}
        return HostFacts(said, _digest(self._model.vocabulary))

    def step(self, reads: list[SlotRead]) -> list[np.ndarray | None]:
        with failures_named(self._model):
            requests = [self._request(read) for read in reads]
            known = [request for request in requests if request]
            for request in known:
                self._catch_up(request)
            logits = iter(self._model.read(known) if known else [])
            return [next(logits).cpu().numpy() if request else None for request in requests]

    def copy(self, slot: int, other: int) -> None:
        self.free(other)
        with failures_named(self._model):
            if slot in self._held:
                self._held[other] = self._model.fork(self._held[slot])

    def free(self, slot: int) -> None:
        if slot in self._held:
            self._model.free(self._held.pop(slot))

    def close(self) -> None:
        self._model.close()

    def _request(self, read: SlotRead) -> ForwardRequest | None:
        """What a read comes to; None if the sequence has other ids before it."""
        sequence = self._held.get(read.slot)
        if sequence is None:
            if read.start:
                return None
            sequence = self._held[read.slot] = self._model.new_sequence()
        before = sequence.ids[: read.start]
        if len(before) < read.start or _checksum(before) != read.checksum:
            return None
        sequence.fixed_chunk_prompt_len = read.fixed_chunk_prompt_len
        return ForwardRequest(sequence, (*before, *read.ids), read.num_logits)

    def _catch_up(self, request: ForwardRequest) -> None:
        """Read a long sequence in the chunks in which it was read before."""
        model, sequence = self._model, request.sequence
        model.take(request)
        while True:
            size = model.chunk_size if sequence.fixed_chunk_prompt_len is None else model.fixed_chunk(sequence)
            if request.num_uncomputed - request.num_logits < size:
                return
            model.read([request.chunk(size)])


class HostedModel(Model):
    """The part of such a model that asks its host. Its vocabulary comes from the model's files."""

    _host: Host

    def use(self, host: Host) -> None:
        """Take the host. Raises ModelLoadError if its model is another one."""
        self._host, facts = host, host.facts()
        if facts.vocabulary != _digest(self.vocabulary):
            raise ModelLoadError(f"{self.name}: the files here have another vocabulary than those of its host")
        for name, value in facts.said.items():
            setattr(self, name, value)
        self.device = torch.device("cpu")

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        found = self._host.step([_slot_read(request, request.start) for request in requests])
        if behind := [index for index, logits_NV in enumerate(found) if logits_NV is None]:
            for index, logits_NV in zip(
                behind, self._host.step([_slot_read(requests[i], 0) for i in behind]), strict=True
            ):
                found[index] = logits_NV
        return [torch.tensor(logits_NV) for logits_NV in found if logits_NV is not None]

    def truncate(self, slot: int, length: int) -> None:
        if not length:
            self._host.free(slot)  # anything else follows from the next read

    def copy(self, slot: int, other: int, length: int) -> None:
        self._host.copy(slot, other)

    def close(self) -> None:
        self._host.close()
        super().close()


class HostedRandom(HostedModel, RandomModel):
    """One whose vocabulary comes from a seed."""


class HostedGguf(HostedModel, DescribedGguf):
    """One whose vocabulary is in a GGUF file."""


class HostedTransformers(HostedModel, TokenizedModel):
    """One whose tokeniser and configuration are in a directory, as transformers saves them."""


def hosted(request: LoadRequest) -> HostedModel:
    """A member's model without its weights and, so far, without a host. Raises ModelLoadError."""
    member = request.member
    if member.is_random:
        return random_model(member, HostedRandom)
    model = without_weights(request, HostedGguf, HostedTransformers)
    if member.end_tokens == "configured":
        model.vocabulary = model.vocabulary.as_configured
    return model


def _slot_read(request: ForwardRequest, start: int) -> SlotRead:
    ids, sequence = request.ids, request.sequence
    before = _checksum(ids[:start])
    return SlotRead(
        sequence.slot, start, before, list(ids[start:]), request.num_logits, sequence.fixed_chunk_prompt_len
    )


def _checksum(ids: tuple[int, ...]) -> int:
    return zlib.crc32(array("i", ids))


def _digest(vocabulary: MemberVocabulary) -> str:
    return hashlib.sha256(repr((vocabulary.token_bytes, sorted(vocabulary.end_ids))).encode()).hexdigest()
