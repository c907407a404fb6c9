"""The contract of a model: it works in its own token ids and knows nothing of members, unions or gates.

Shape suffixes: `N` positions, `V` the model's vocabulary.

Laws, tested over every back end (tests/models/test_laws.py):
- reading a + b equals reading a, then b (to a tolerance that the back end states);
- whatever was read before, what a request gives equals what a fresh sequence gives for it; so does a fork's;
- reading several sequences in one call equals reading each alone;
- the bytes of `encode(text)` are the text's UTF-8 bytes, except bytes without a token in the model (SmolLM2 lacks six
  control characters and the lead bytes of the unassigned planes 4 to 11).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import torch

from gac_app.errors import MemberError
from gac_app.models.chat import ChatFormat
from gac_app.models.message import Message
from gac_app.models.pass_costs import PassCosts
from gac_app.models.sequence import ForwardRequest, KVSequence, num_common
from gac_app.vocab.tokens import MemberVocabulary


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
    """A causal language model that holds several sequences, each in a slot. Not thread-safe: one worker thread owns it.

    A back end gives three methods, `forward`, `truncate` and `copy`, and what `__init__` takes. Everything else is
    derived, or says what is known of the back end.

    Args:
        name: the member's name.
        vocabulary: the model's tokens, and its tokeniser.
        context_length: the most ids one sequence may hold.
        max_sequences: sequences held at once.
        chat: how messages are laid out; None = a plain `User: ... / Assistant:` layout.
        num_threads: CPU threads of one forward pass; None = torch's own choice.
    """

    engine = "own"  # library, kind of device, precision
    device = torch.device("cpu")  # where the logits are returned
    about: ModelFacts = ModelFacts()
    bytes_per_id: int = 0  # of the KV cache; 0 = unknown
    chunk_size: int = 512  # ids of one prefill chunk; steps of other sequences come between chunks
    max_batched_ids: int = 1_000_000  # the most uncomputed ids of a sequence that is batched with others
    is_chunk_invariant: bool = False  # ... to the last bit
    is_batch_invariant: bool = False  # logits are equal, to the last bit, whatever else is in the batch
    can_be_reproducible: bool = True  # fixed chunks make up for what is not invariant

    def __init__(
        self,
        name: str,
        vocabulary: MemberVocabulary,
        *,
        context_length: int,
        max_sequences: int,
        chat: ChatFormat | None = None,
        num_threads: int | None = None,
    ) -> None:
        self.name = name
        self.vocabulary = vocabulary
        self.context_length = context_length
        self.chat = chat or ChatFormat(None)
        self.num_threads = num_threads
        self.costs = PassCosts()
        self.max_sequences = max_sequences
        self._free_slots = list(range(max_sequences))
        self._num_cached: dict[int, int] = {}  # ids in the KV cache, by slot: the computed ones, and perhaps stale ones

    # --- what a back end gives

    @abstractmethod
    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        """Compute each request's `uncomputed` ids in one forward pass, after the `start` ids in its sequence's cache.

        Returns:
            per request, float32 logits of shape [num_logits, V] on `device`, valid until the next call.

        Raises:
            anything: the pass failed. A cache may then hold some of the ids.
        """

    @abstractmethod
    def truncate(self, slot: int, length: int) -> None:
        """Drop all but the first `length` ids from a slot's KV cache."""

    @abstractmethod
    def copy(self, slot: int, other: int, length: int) -> None:
        """Copy the KV cache of a slot, which holds `length` ids, to another slot, which is empty."""

    def encode_raw(self, text: str) -> list[int]:
        """Ids of `text` as the start of a document: the model's own BOS rule, no chat template."""
        return self.vocabulary.encode(text)

    def encode_control(self, text: str) -> list[int]:
        """Ids of a chat template's own text, in which control tokens are recognised."""
        return self.vocabulary.encode(text)

    def close(self) -> None:  # noqa: B027 (most back ends have nothing to close)
        """Release the weights."""

    # --- what follows from it

    @property
    def chat_stop_strings(self) -> tuple[str, ...]:
        """Each ends a turn, if the chat layout has no token for it."""
        return self.chat.stop_strings

    def encode_chat(self, messages: list[Message]) -> list[int]:
        """Ids of a chat in the model's own template, up to where the assistant's next message begins.

        No text inside a message becomes a control token.
        """
        ids: list[int] = []
        for fragment in self.chat.fragments(messages):
            ids += (self.encode_control if fragment.is_trusted else self.vocabulary.encode)(fragment.text)
        return ids

    def new_sequence(self) -> KVSequence:
        """An empty sequence. Raises MemberError if no more can be held."""
        if not self._free_slots:
            held = f"holds as many sequences as it can (max_sequences: {self.max_sequences})"
            raise MemberError(self.name, "context", f"{held}; try again when a run has ended")
        slot = heappop(self._free_slots)  # the lowest, since some back ends compute adjacent slots together
        self._num_cached[slot] = 0
        return KVSequence(slot)

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        """Compute what the requests ask for in one forward pass.

        If the pass fails, its sequences are as before.

        Returns:
            per request, float32 logits of shape [num_logits, V] on `device`, valid until the next call of `read`.

        Raises:
            MemberError: a sequence is longer than the context, or `forward` gave something else than was asked for.
            Whatever `forward` raises.
        """
        for request in requests:
            self.check_length(request.ids)
        for request in requests:
            self.take(request)
            self._drop_stale(request.sequence)
            self._num_cached[request.sequence.slot] = len(request.ids)  # the most that a failed pass leaves
        self.take_threads()
        logits = self.forward(requests)
        self._check(requests, logits)
        for request in requests:
            request.sequence.ids = request.ids
        return logits

    def take(self, request: ForwardRequest) -> int:
        """Keep of a sequence what the request goes on from; the KV cache follows with the next pass. Returns the number
        of ids that are left to compute.
        """
        sequence = request.sequence
        num_kept = min(len(sequence.ids), len(request.ids) - request.num_logits)
        if sequence.ids[:num_kept] != request.ids[:num_kept]:
            num_kept = num_common(sequence.ids, request.ids)
        if num_kept < len(sequence.ids):
            if sequence.fixed_chunk_prompt_len is not None and num_kept < sequence.fixed_chunk_prompt_len:
                num_kept -= num_kept % self.chunk_size
            sequence.ids = sequence.ids[:num_kept]
        return len(request.ids) - len(sequence.ids)

    def check_length(self, ids: Sequence[int]) -> None:
        """Raises MemberError if a sequence is longer than the context."""
        if len(ids) > self.context_length:
            what = f"{len(ids):,} tokens do not fit its context of {self.context_length:,}"
            raise MemberError(self.name, "context", what)

    def fixed_chunk(self, sequence: KVSequence) -> int:
        """Size of a sequence's next fixed chunk.

        Fixed chunks do not depend on load or caches: `chunk_size` ids of the prompt at a time, counted from its first
        id, then one id at a time. They make logits reproducible even if the model is not batch-invariant.
        """
        start, num_prompt = len(sequence.ids), sequence.fixed_chunk_prompt_len or 0
        end = min(num_prompt, (start // self.chunk_size + 1) * self.chunk_size) if start < num_prompt else start + 1
        return end - start

    def take_threads(self) -> None:
        """Set torch's number of threads for the calling thread to the model's.

        More threads than free cores wait for each other, and one is enough for a vocabulary's softmax.
        """
        if self.num_threads and torch.get_num_threads() != self.num_threads:
            torch.set_num_threads(self.num_threads)

    def rewind(self, sequence: KVSequence, length: int) -> None:
        """Keep only the first `length` ids."""
        sequence.ids = sequence.ids[:length]
        self._drop_stale(sequence)

    def fork(self, sequence: KVSequence) -> KVSequence:
        """A new sequence with the same cache. Raises MemberError if no more can be held."""
        forked = self.new_sequence()
        try:
            self.copy(sequence.slot, forked.slot, self._num_cached[sequence.slot])
        except BaseException:
            self.free(forked)
            raise
        self._num_cached[forked.slot] = self._num_cached[sequence.slot]
        forked.ids = sequence.ids
        return forked

    def free(self, sequence: KVSequence) -> None:
        """Free the sequence's memory. The sequence must not be used afterwards."""
        self.truncate(sequence.slot, 0)
        del self._num_cached[sequence.slot]
        heappush(self._free_slots, sequence.slot)

    def _drop_stale(self, sequence: KVSequence) -> None:
        """Drop ids from the cache that the sequence no longer has, or of which only a part was computed."""
        if self._num_cached[sequence.slot] > len(sequence.ids):
            self.truncate(sequence.slot, len(sequence.ids))
            self._num_cached[sequence.slot] = len(sequence.ids)

    def _check(self, requests: list[ForwardRequest], logits: list[torch.Tensor]) -> None:
        found = [(tuple(logits_NV.shape), logits_NV.dtype) for logits_NV in logits]
        expected = [((request.num_logits, len(self.vocabulary)), torch.float32) for request in requests]
        if found != expected:
            raise MemberError(self.name, "exception", f"its back end gave logits {found}; expected {expected}")
