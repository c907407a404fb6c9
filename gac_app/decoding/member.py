"""A member as decoding sees it: a model that answers in the union's ids.

`Member` is the seam to wherever the model runs. `InlineMember` runs it in the calling thread; `executors` has the ones
that run members in parallel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.forward import compute
from gac_app.errors import MemberError
from gac_app.models.base import Model
from gac_app.models.message import Message
from gac_app.models.sequence import ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping

Prompt = str | Sequence[Message]  # a raw document, or a chat


class Member(ABC):
    """One language model of the ensemble. Methods may be called from any thread.

    Here are the facts and the tokeniser of its model; subclasses say where its sequences are read.

    Attributes:
        model: callers must leave its sequences alone: it may be computing in another thread.
        mapping: between its ids and the union's.
        failure: why no read succeeds at present; empty = as far as is known, they do.
        reads_ahead: it computes while the session goes on, so it may read what nobody has asked for yet.
    """

    reads_ahead = False

    def __init__(self, model: Model, mapping: VocabMapping) -> None:
        self.model = model
        self.mapping = mapping.to(model.device)
        self.failure = ""

    @property
    def name(self) -> str:
        return self.model.name

    def why_unready(self, timeout_s: float) -> str:
        """Why it cannot serve at present; empty = it can. A pass that takes longer than `timeout_s` hangs."""
        return self.failure

    @property
    def why_late(self) -> str:
        """What is said of it if it does not answer in time."""
        return "gave no answer in time for this step"

    def encode(self, prompt: Prompt) -> list[int]:
        """The member's own ids of a prompt."""
        return self.model.encode_raw(prompt) if isinstance(prompt, str) else self.model.encode_chat(list(prompt))

    def fixed_chunk_prompt_len(self, ids: list[int], *, is_reproducible: bool) -> int | None:
        """Of a sequence with this prompt; see `KVSequence`. An invariant model needs no fixed chunks."""
        is_invariant = self.model.is_batch_invariant and self.model.is_chunk_invariant
        return len(ids) if is_reproducible and not is_invariant else None

    @abstractmethod
    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        """A sequence for contexts that begin with the prompt `ids`. Nothing is computed. This call or the first read
        raises MemberError if no slot is free.

        Args:
            share: who has asked for it; see `executors.fair_queue`.
            namespace: sequences of one namespace share their prefixes; empty = this one shares nothing.
            is_reproducible: its logits must not depend on what else runs or ran, at any cost.
        """

    @abstractmethod
    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        """Begin what a request asks for. The reads of one sequence are computed in the order in which they began. One
        that has not begun to be computed may be cancelled.

        The future raises MemberError if the member fails.
        """

    @abstractmethod
    def is_free_for(self, sequence: KVSequence) -> bool:
        """Whether reads of this sequence that nobody waits for take time from nobody."""

    @abstractmethod
    def free(self, sequence: KVSequence) -> None:
        """Free the sequence after its pending reads. With a namespace, it may stay in the prefix cache."""

    @abstractmethod
    def forget(self, namespace: str) -> None:
        """Drop this namespace, and those below it ("a" of "a/b"), from the prefix cache, now and later."""

    @abstractmethod
    def close(self) -> None:
        """Release the model."""


class SharingMember(Member):
    """A member whose sequences are those of another member, `base`, which closes the model."""

    def __init__(self, base: Member) -> None:
        self.base, self.reads_ahead = base, base.reads_ahead
        super().__init__(base.model, base.mapping)

    def why_unready(self, timeout_s: float) -> str:
        return self.base.why_unready(timeout_s)

    @property
    def why_late(self) -> str:
        return self.base.why_late

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        return self.base.open(ids, share, namespace, is_reproducible=is_reproducible)

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        return self.base.read(request)

    def is_free_for(self, sequence: KVSequence) -> bool:
        return self.base.is_free_for(sequence)

    def free(self, sequence: KVSequence) -> None:
        self.base.free(sequence)

    def forget(self, namespace: str) -> None:
        self.base.forget(namespace)

    def close(self) -> None:
        """Nothing to release."""


class InlineMember(Member):
    """Runs its model in the calling thread: the simplest implementation, for tests and for ZeroGPU."""

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        sequence = self.model.new_sequence()
        sequence.prompt, sequence.share = tuple(ids), share
        sequence.fixed_chunk_prompt_len = self.fixed_chunk_prompt_len(ids, is_reproducible=is_reproducible)
        return sequence

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        future: Future[ReadResult] = Future()
        try:
            compute(self.model, self.mapping, [request], future.set_result)
        except MemberError as error:
            future.set_exception(error)
        return future

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Never: the calling thread would do these reads."""
        return False

    def free(self, sequence: KVSequence) -> None:
        self.model.free(sequence)

    def forget(self, namespace: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        self.model.close()
