"""The contract of a model: it works in its own token ids and knows nothing of members, unions or gates.

Shape suffixes: `N` positions, `V` the model's vocabulary.

Laws, tested over every back end (tests/models/test_laws.py):
- reading a + b equals reading a, then b (to a tolerance that the back end states);
- after a rewind the next distribution equals a fresh sequence's; a fork's equals its parent's;
- reading several sequences in one call equals reading each alone;
- the bytes of `encode(text)` are the text's UTF-8 bytes, except bytes without a token in the model (SmolLM2 lacks six
  control characters and the lead bytes of the unassigned planes 4 to 11).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field

import torch

from gac_app.models.message import Message
from gac_app.vocab.tokens import MemberVocabulary

Share = tuple[str, ...]  # whose sequence it is, the outermost level first; see `executors.shares`


@dataclass(slots=True, eq=False)
class Sequence:
    """One context inside one model: its ids, of which the first `num_cached` are in the model's KV cache.

    The ids after them are uncomputed until the next `Model.read`: prefill, one step, and catching up after idling are
    the same call.
    """

    slot: int  # the model's own handle
    ids: list[int] = field(default_factory=list)
    num_cached: int = 0
    num_kept: int | None = None  # of the cached ids, those still valid after a rewrite; None = all
    num_fixed: int | None = None  # length of its prompt, if it is computed in fixed chunks (see `Model.fixed_chunk`)
    share: Share = ()

    @property
    def uncomputed(self) -> list[int]:
        return self.ids[self.num_computed :]

    @property
    def num_uncomputed(self) -> int:
        return len(self.ids) - self.num_computed

    @property
    def num_computed(self) -> int:
        """The number of valid cached ids: all, or those before a rewrite."""
        return self.num_cached if self.num_kept is None else self.num_kept

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def rewrite(self, length: int, ids: list[int]) -> None:
        """Replace all ids after the first `length`. `Model.catch_up` updates the KV cache before the next read."""
        self.ids[length:] = ids
        if length < self.num_computed:
            self.num_kept = length


def num_common(ids: SequenceOf[int], others: SequenceOf[int]) -> int:
    """Length of the common prefix of two lists of ids."""
    pairs = zip(ids, others, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(ids), len(others)))


@dataclass(frozen=True, slots=True)
class Read:
    """A request to compute a sequence's uncomputed ids and return the logits after the last `num_logits` of them.

    `num_logits` is at least 1 and at most `sequence.num_uncomputed`.
    """

    sequence: Sequence
    num_logits: int = 1


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts from a model's files; empty if the files do not tell.

    Attributes:
        family: its architecture, such as `qwen2`.
        size: such as `0.5B`.
        quantization: the precision of its weights, such as `Q4_K_M` or `bfloat16`.
    """

    family: str = ""
    size: str = ""
    quantization: str = ""
    licence: str = ""


class Model(ABC):
    """A causal language model that holds several sequences. Not thread-safe: one worker thread owns it."""

    name: str
    vocabulary: MemberVocabulary
    context_length: int  # the most ids one sequence may hold
    device: torch.device  # where the logits are returned
    is_chunk_consistent: bool = False  # several ids in one forward pass equal one by one, to float32 rounding
    about: ModelFacts = ModelFacts()  # from its files
    engine: str  # library, kind of device, precision
    chat_stop_strings: tuple[str, ...]  # each ends a turn, if the chat layout has no token for it
    max_batched_ids: int = 1_000_000  # the most uncomputed ids of a sequence that is batched with others
    is_batch_invariant: bool = False  # logits are equal, to the last bit, whatever else is in the batch
    is_chunk_invariant: bool = False  # ... and however the ids are cut into chunks
    chunk_size: int = 512  # ids of one prefill chunk; steps of other sequences come between chunks
    bytes_per_id: int = 0  # of the KV cache; 0 = unknown
    num_threads: int | None = None  # CPU threads of one forward pass; None = torch's own choice

    @abstractmethod
    def encode_raw(self, text: str) -> list[int]:
        """Ids of `text` as the start of a document: the model's own BOS rule, no chat template."""

    @abstractmethod
    def encode_chat(self, messages: list[Message]) -> list[int]:
        """Ids of a chat in the model's own template, up to where the assistant's next message begins.

        No text inside a message becomes a control token.
        """

    @abstractmethod
    def new_sequence(self) -> Sequence:
        """An empty sequence. Raises MemberError if no more can be held."""

    @abstractmethod
    def read(self, reads: list[Read]) -> list[torch.Tensor]:
        """Compute the uncomputed ids of every sequence in one forward pass.

        Returns:
            per read, float32 logits of shape [num_logits, V] on `device`, valid until the next call of `read`.

        Raises:
            MemberError: the cache is full or the back end fails; the sequences are then unusable.
        """

    def read_chunk(self, sequence: Sequence, num_ids: int, num_logits: int = 1) -> torch.Tensor:
        """Compute the first `num_ids` uncomputed ids of a sequence; logits as from `read`."""
        rest = sequence.ids[sequence.num_computed + num_ids :]
        del sequence.ids[sequence.num_computed + num_ids :]
        try:
            [logits_NV] = self.read([Read(sequence, num_logits)])
        finally:
            sequence.ids += rest
        return logits_NV

    def fixed_chunk(self, sequence: Sequence) -> int:
        """Size of a sequence's next fixed chunk.

        Fixed chunks do not depend on load or caches: `chunk_size` ids of the prompt at a time, counted from its first
        id, then one id at a time. They make logits reproducible even if the model is not batch-invariant.
        """
        start, num_prompt = sequence.num_computed, sequence.num_fixed or 0
        end = min(num_prompt, (start // self.chunk_size + 1) * self.chunk_size) if start < num_prompt else start + 1
        return end - start

    def take_threads(self) -> None:
        """Set torch's number of threads for the calling thread to the model's.

        More threads than free cores wait for each other, and one is enough for a vocabulary's softmax.
        """
        if self.num_threads and torch.get_num_threads() != self.num_threads:
            torch.set_num_threads(self.num_threads)

    def catch_up(self, sequence: Sequence) -> None:
        """Rewind the KV cache to the ids that a rewrite kept. Call this before the next read."""
        if sequence.num_kept is not None:
            ids = list(sequence.ids)
            self.rewind(sequence, sequence.num_kept)
            sequence.ids[:] = ids
            sequence.num_kept = None

    @abstractmethod
    def rewind(self, sequence: Sequence, length: int) -> None:
        """Keep only the first `length` ids."""

    @abstractmethod
    def fork(self, sequence: Sequence) -> Sequence:
        """A new sequence with the same ids and the same cache."""

    @abstractmethod
    def free(self, sequence: Sequence) -> None:
        """Free the sequence's memory. The sequence must not be used afterwards."""

    def close(self) -> None:  # noqa: B027 (most back ends have nothing to close)
        """Release the weights."""
