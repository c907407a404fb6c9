"""A model that another process holds: the two sides of that seam, whatever carries the messages between them.

`HostedModel` is this side. It has the tokeniser, and asks a `Host` for logits. `ModelHost` is the other side, around
the model itself. A message has all ids of a sequence, so messages are idempotent: after a restart, or where one was
lost, the other side computes what its cache lacks.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
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
_FACTS = (
    "engine",
    "about",
    "context_length",
    "bytes_per_id",
    "chunk_size",
    "max_batched_ids",
    "is_chunk_invariant",
    "is_batch_invariant",
)


class SlotRead(NamedTuple):
    """A `ForwardRequest`, and what else is sent of its sequence: the asking side's slot, `fixed_chunk_prompt_len`.

    Attributes:
        start: the other side computes all ids from there on anew, though a copied cache may have more of them: it is
            another conversation's, or was read in other chunks.
    """

    slot: int
    ids: Sequence[int]
    start: int
    num_logits: int
    fixed_chunk_prompt_len: int | None


class Host(ABC):
    """Whoever holds a model. Calls come from one thread, and raise MemberError."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Attributes of the model, once it is loaded; `vocabulary` is a digest of its own."""

    @abstractmethod
    def step(self, reads: list[SlotRead]) -> list[np.ndarray]:
        """Compute some sequences in one forward pass. Returns per read, float32 logits of shape [num_logits, V]."""

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

    def facts(self) -> dict[str, Any]:
        facts = {name: getattr(self._model, name) for name in _FACTS}
        return facts | {"vocabulary": _digest(self._model.vocabulary)}

    def step(self, reads: list[SlotRead]) -> list[np.ndarray]:
        with failures_named(self._model):
            requests = [self._request(read) for read in reads]
            for request in requests:
                self._catch_up(request)
            return [logits_NV.cpu().numpy() for logits_NV in self._model.read(requests)]

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

    def _request(self, read: SlotRead) -> ForwardRequest:
        if read.slot not in self._held:
            self._held[read.slot] = self._model.new_sequence()
        sequence = self._held[read.slot]
        sequence.ids, sequence.fixed_chunk_prompt_len = sequence.ids[: read.start], read.fixed_chunk_prompt_len
        return ForwardRequest(sequence, tuple(read.ids), read.num_logits)

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
        if facts["vocabulary"] != _digest(self.vocabulary):
            why = "the files here have another vocabulary than those of its host"
            if isinstance(self, HostedGguf) and facts["engine"].startswith("transformers"):
                why = "transformers, which runs it there, finds other tokens in its GGUF file than llama.cpp here; "
                why += "name the model's safetensors as its source, or reserve no GPU"
            raise ModelLoadError(f"{self.name}: {why}")
        for name in _FACTS:
            setattr(self, name, facts[name])
        self.device = torch.device("cpu")

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        reads = [
            SlotRead(one.sequence.slot, one.ids, one.start, one.num_logits, one.sequence.fixed_chunk_prompt_len)
            for one in requests
        ]
        return [torch.tensor(logits_NV) for logits_NV in self._host.step(reads)]

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


def _digest(vocabulary: MemberVocabulary) -> str:
    return hashlib.sha256(repr((vocabulary.token_bytes, sorted(vocabulary.end_ids))).encode()).hexdigest()
