"""Models that fail as a test plans it, and what puts them together to an ensemble.

Every fake refuses reads that the contract of `Model` forbids, so a caller that a real back end would trip is found out.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from gac_app.config import Config
from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import Member
from gac_app.decoding.trace import Event, FinishedEvent, StepTrace, TokenEvent
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Model
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import LOCAL, ForwardRequest, KVSequence, Share
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary

WAIT_S = 180.0  # for what must come, such as a start on a busy machine; a test that waits this long fails
SOON_S = 20.0  # for what must not wait for something that never comes, on a machine that stalls


@dataclass
class Fault:
    """From a sequence's `from_read`-th read on (from 0), what happens instead of logits. One that is tried again, since
    another in its pass has failed, counts once.
    """

    kind: Literal["nan", "inf", "raise", "hang"]
    from_read: int = 0
    marker: bytes = b""  # only to sequences whose text holds it; empty = to all
    error: BaseException = field(default_factory=lambda: RuntimeError("planned"))


@dataclass
class FakeModel(RandomModel):
    """A random model that counts, dawdles and fails, and never ends its answer by itself."""

    name: str = "a"
    seed: int = 0
    fault: Fault | None = None
    delay_s: float = 0.0  # of every forward pass
    context_length: int = 4096
    max_sequences: int = 64
    own_vocabulary: MemberVocabulary | None = None  # None = one by the seed
    batches: list[int] = field(default_factory=list)  # how many sequences shared each forward pass
    num_read_at_once: list[int] = field(default_factory=list)  # how many ids each read computed
    shares: set[Share] = field(default_factory=set)  # whose sequences were read
    is_hanging: threading.Event = field(default_factory=threading.Event)  # set once a pass hangs
    released: threading.Event = field(default_factory=threading.Event)  # lets it go on, and all after it
    is_closed: bool = False
    _starts: dict[int, list[int]] = field(default_factory=dict)  # by slot, where each read of it began

    def __post_init__(self) -> None:
        limits = {"context_length": self.context_length, "max_sequences": self.max_sequences}
        super().__init__(self.name, self.seed, vocabulary=self.own_vocabulary, **limits)

    @property
    def num_held(self) -> int:
        """Sequences not freed."""
        return len(self._num_cached)

    @property
    def num_read(self) -> int:
        """Ids computed."""
        return sum(self.num_read_at_once)

    @property
    def most_read(self) -> int:
        """Ids of the longest sequence read; may be asked from any thread."""
        return max(map(len, list(self._cached.values())), default=0)

    def new_sequence(self) -> KVSequence:
        sequence = super().new_sequence()
        self._starts[sequence.slot] = []
        return sequence

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        self.batches.append(len(requests))
        self.shares |= {request.sequence.share for request in requests}
        for request in requests:
            assert 1 <= request.num_logits <= len(request.ids), "a read of nothing"
            assert len(request.ids) <= self.context_length, "more than the context holds"
            self.take(request)
            self.num_read_at_once.append(request.num_uncomputed)
        time.sleep(self.delay_s)
        return super().read(requests)

    def _read_one(self, request: ForwardRequest) -> torch.Tensor:
        starts = self._starts[request.sequence.slot]
        if starts[-1:] != [request.start]:
            starts.append(request.start)
        number = len(starts) - 1
        logits_NV = super()._read_one(request)
        if self.fault is None or number < self.fault.from_read:
            return logits_NV
        if self.fault.marker not in self.vocabulary.decode(list(request.ids)):
            return logits_NV
        return self._fail(self.fault, logits_NV)

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        logits_V = super()._logits_V(ids)
        logits_V[list(self.vocabulary.end_ids)] = -torch.inf
        return logits_V

    def _fail(self, fault: Fault, logits_NV: torch.Tensor) -> torch.Tensor:
        if fault.kind == "raise":
            raise fault.error
        if fault.kind == "hang":
            self.is_hanging.set()
            self.released.wait()
            return logits_NV
        return torch.full_like(logits_NV, torch.nan if fault.kind == "nan" else torch.inf)

    def close(self) -> None:
        self.is_closed = True


class Parrot(FakeModel):
    """Says a sentence again and again, whatever it reads."""

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        return super()._logits_V(ids[-2:])


class FixedModel(RandomModel):
    """Gives after every text the same probabilities of tokens that the vocabulary has; b"" = END. They sum to 1."""

    def __init__(self, name: str, probs: dict[bytes, float]) -> None:
        super().__init__(name, seed=0)
        self._logits = torch.full((len(self.vocabulary),), -torch.inf)
        for token, prob in probs.items():
            own = self.vocabulary.token_bytes.index(token) if token else next(iter(self.vocabulary.end_ids))
            self._logits[own] = math.log(prob) if prob else -math.inf

    def _logits_V(self, ids: list[int]) -> torch.Tensor:
        return self._logits


def after(sequence: KVSequence, ids: Sequence[int] = (), num_logits: int = 1) -> ForwardRequest:
    """For these ids after those that the sequence has computed, or after its prompt if it has computed none."""
    return ForwardRequest(sequence, (*(sequence.ids or sequence.prompt), *ids), num_logits)


def logits_after(model: Model, ids: Sequence[int], num_logits: int = 1) -> torch.Tensor:
    """What a model gives after the last of these ids, in a sequence of their own, [num_logits, V]."""
    sequence = model.new_sequence()
    [logits_NV] = model.read([ForwardRequest(sequence, tuple(ids), num_logits)])
    logits_NV = logits_NV.clone()  # the next pass may overwrite them
    model.free(sequence)
    return logits_NV


def in_worker(member: Any, call: Callable[[], Any] = lambda: None) -> Any:
    """The result of a call in a member's thread, after all that it was asked before."""
    done: Future[Any] = Future()
    member._put(lambda: done.set_result(call()))
    return done.result(WAIT_S)


def open_text(member: Member, text: str, **fields: Any) -> KVSequence:
    """A sequence that begins with a text."""
    return member.open(member.encode(text), LOCAL, **fields)


def busy(member: Member, model: FakeModel) -> Future[ReadResult]:
    """A read that keeps the member in a pass until `model.released` is set."""
    model.fault = Fault("hang", marker=b"HANG")
    pending = member.read(after(open_text(member, "HANG")))
    assert model.is_hanging.wait(WAIT_S)
    return pending


def fresh(member: Any, ids: Sequence[int]) -> torch.Tensor:
    """A member's distribution after these ids, [1, U], as its model gives it without any cache."""
    probs_1U: torch.Tensor = member.mapping.project(member.model._logits_V([*ids]).unsqueeze(0))
    return probs_1U


def mapping_of(model: Model) -> VocabMapping:
    """Into the union of its vocabulary alone."""
    return VocabMapping(model.vocabulary, UnionVocabulary.build([model.vocabulary]))


def config_of(names: Sequence[str], settings: dict[str, Any] | None = None, **fields: Any) -> Config:
    """A configuration whose members have these names."""
    members = [{"name": n, "source": f"random:{seed}", "max_sequences": 64} for seed, n in enumerate(names)]
    return Config.model_validate({"members": members, "settings": settings or {}, **fields})


def ensemble_of(
    models: Sequence[Model], config: Config | None = None, member: Callable[[Any, VocabMapping], Member] = ThreadMember
) -> Ensemble:
    """The ensemble of `models`, each run by a `member`."""
    union = UnionVocabulary.build(model.vocabulary for model in models)
    members = [member(model, VocabMapping(model.vocabulary, union)) for model in models]
    return Ensemble(members, config or config_of([model.name for model in models]))


def probs_of(result: ReadResult) -> torch.Tensor:
    """A read's distributions as one tensor, [N, U]."""
    return torch.stack([distribution.probs_U for distribution in result.distributions])


def steps_and_end(events: Iterable[Event]) -> tuple[list[StepTrace], FinishedEvent]:
    """An answer, decoded to its end."""
    *tokens, end = events
    assert isinstance(end, FinishedEvent)
    return [event.step for event in tokens if isinstance(event, TokenEvent)], end
