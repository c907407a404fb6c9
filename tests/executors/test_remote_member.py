"""A member that a server computes: several sequences at once, each in order, and a failure that ends by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass

import pytest
import torch

from gac_app.decoding.distribution import PartialDistribution, ReadResult
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules.gate import Gate
from gac_app.decoding.rules.shipped.gates import Entropy
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import MemberError, SessionStopped
from gac_app.executors import remote
from gac_app.executors.members import in_background
from gac_app.executors.remote import RemoteMember
from gac_app.models.remote.engine import TopLogprobs
from gac_app.models.remote.model import RemoteModel
from gac_app.models.sequence import LOCAL, ForwardRequest, KVSequence
from tests.fakes import WAIT_S, FakeModel, Fault, after, config_of, ensemble_of, mapping_of, probs_of, steps_and_end
from tests.services.house import until

TEXT = "the token of a model"


@dataclass
class FarModel(FakeModel, RemoteModel):
    """A fake whose passes meet: none ends before as many have begun as `num_meeting` says."""

    num_meeting: int = 1
    num_told: int = 100_000
    _most_wanted = 0
    why: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._meeting = threading.Barrier(self.num_meeting)

    def read_partial(self, request: ForwardRequest) -> list[TopLogprobs]:
        self._meeting.wait(WAIT_S)
        [logits_NV] = self.read([request])
        logprobs_NV = torch.log_softmax(logits_NV, 1)
        top = logprobs_NV.topk(min(self.num_told, logprobs_NV.shape[1]), dim=1)
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return [TopLogprobs(ids, logprobs, logprobs[-1]) for ids, logprobs in pairs]

    def fetch_more(self, sequence: KVSequence, ids: list[int], num: int) -> TopLogprobs:
        self.is_hanging.set()
        self.released.wait(WAIT_S)
        raise MemberError(self.name, "exception", "planned")

    def why_failing(self, *, revives: bool = True) -> str:
        return self.why


@pytest.fixture
def model() -> FarModel:
    return FarModel(max_sequences=3)


@pytest.fixture
def member(model: FarModel) -> Iterator[RemoteMember]:
    member = RemoteMember(model, mapping_of(model))
    yield member
    model.released.set()
    member.close()


def test_sequences_are_asked_at_once(model: FarModel, member: RemoteMember) -> None:
    model._meeting = threading.Barrier(3)
    texts = ["one", "two", "and three"]
    sequences = [member.open(member.encode(text), LOCAL) for text in texts]
    futures = [member.read(after(sequence)) for sequence in sequences]
    near = InlineMember(FakeModel(), mapping_of(model))
    for text, sequence, future in zip(texts, sequences, futures, strict=True):
        exact = near.read(after(near.open(near.encode(text), LOCAL))).result()
        torch.testing.assert_close(probs_of(future.result(WAIT_S)), probs_of(exact))
        assert sequence.ids == sequence.prompt


Hanging = tuple[KVSequence, Future[ReadResult]]


@pytest.fixture
def hanging(model: FarModel, member: RemoteMember) -> Hanging:
    """A sequence, and its read, which hangs."""
    model.fault = Fault("hang", marker=b"HANG")
    sequence = member.open(member.encode("HANG"), LOCAL)
    pending = member.read(after(sequence))
    assert model.is_hanging.wait(WAIT_S)
    return sequence, pending


def test_reads_of_one_sequence_come_in_order(model: FarModel, member: RemoteMember, hanging: Hanging) -> None:
    sequence, first = hanging
    assert member.read(after(sequence, [65])).cancel(), "it has not begun"
    last = member.read(after(sequence, [66]))
    assert not wait([last], 0.05).done
    model.released.set()
    assert last.result(WAIT_S).num_read == 1, "the first one has read the others"
    member.read(after(sequence, [67])).result(WAIT_S)
    assert model.costs.seconds(1) > 0, "drafts that such members verify are as long as pays"
    assert first.result().num_read == len(sequence.prompt)
    assert len(model.num_read_at_once) == 3


def test_a_sequence_is_freed_after_its_reads(model: FarModel, member: RemoteMember, hanging: Hanging) -> None:
    sequence, _ = hanging
    assert member.read(after(sequence, [65])).cancel()
    member.free(sequence)
    assert model.num_held == 1
    others = [member.open([1], LOCAL) for _ in range(model.max_sequences)]  # what is stopped takes no room from these
    assert len({sequence.slot, *(other.slot for other in others)}) == 1 + model.max_sequences
    for other in others:
        member.free(other)
    model.released.set()
    until(lambda: model.num_held == 0)


def test_garbage_is_freed_within_a_call(model: FarModel, member: RemoteMember) -> None:
    """A session may be collected wherever memory is taken, in the thread that holds the lock too."""
    sequence = member.open([1], LOCAL)

    def free() -> None:
        with member._lock:
            member.free(sequence)

    threading.Thread(target=free, daemon=True).start()
    until(lambda: model.num_held == 0)


def test_after_closing_it_says_so(model: FarModel, member: RemoteMember, hanging: Hanging) -> None:
    """As a `ThreadMember` does: to a read that waits, and to a new one."""
    waits = member.read(after(hanging[0]))
    member.close()
    model.released.set()
    for read in (waits, member.read(after(member.open([1], LOCAL)))):
        with pytest.raises(MemberError, match="has been closed"):
            read.result(WAIT_S)


def test_a_failure_ends_with_an_answer(model: FarModel, member: RemoteMember, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_again, revived = threading.Event(), list[bool]()
    monkeypatch.setattr(remote, "PROBE_S", 0.001)

    def why_failing(*, revives: bool) -> str:
        revived.append(revives)
        asked_again.wait(WAIT_S)
        return model.why

    def set_in_turn(self: RemoteMember, name: str, value: object) -> None:
        assert name != "failure" or self._lock._is_owned(), "or one who has read it writes it back, for ever"
        object.__setattr__(self, name, value)

    monkeypatch.setattr(model, "why_failing", why_failing)
    monkeypatch.setattr(RemoteMember, "__setattr__", set_in_turn, raising=False)
    model.fault, model.why = Fault("raise"), "still nothing"
    with pytest.raises(MemberError, match="planned"):
        member.read(after(member.open(member.encode(TEXT), LOCAL))).result(WAIT_S)
    assert member.failure == "", "the caller may have had no patience, and the error may quote its text"
    asked_again.set()
    until(lambda: member.failure == "still nothing")
    model.why = ""
    until(lambda: member.failure == "")
    assert revived[:2] == [False, True], "a dead engine shows while it is started again"


def test_a_second_question_may_hang_or_fail(model: FarModel, member: RemoteMember) -> None:
    model.num_told = 1
    sequence = member.open(member.encode(TEXT), LOCAL)
    [told] = member.read(after(sequence)).result(WAIT_S).distributions
    assert isinstance(told, PartialDistribution)
    assert isinstance(told._ask, remote._Step)
    assert not told.is_whole
    told._ask.seconds += sequence.timeout_s  # the step has waited so long before
    with pytest.raises(MemberError, match="random gave no answer in time for this step: see its load") as caught:
        _ = told.probs_U
    assert caught.value.kind == "timeout"
    told._ask.seconds = 0.0
    sequence.stopped.set()
    with pytest.raises(SessionStopped):
        Gate(Entropy()).view(told)
    sequence.stopped.clear()
    model.released.set()
    model.why = "planned"
    with pytest.raises(MemberError, match="planned"):
        _ = told.probs_U
    until(lambda: member.failure == "planned")


def test_no_answer_of_a_server_is_reproducible(model: FarModel) -> None:
    ensemble = ensemble_of([model], config_of([model.name], {"max_new_tokens": 1, "reproducible": "on"}), RemoteMember)
    assert not steps_and_end(ensemble.generate("the"))[1].is_reproducible
    ensemble.close()


def test_a_study_can_be_stopped(model: FarModel) -> None:
    config = config_of([model.name], {"max_new_tokens": 3})
    study, stop = in_background(ensemble_of([model], config, RemoteMember))
    for reason in (FinishReason.LENGTH, FinishReason.ERROR):
        assert steps_and_end(study.generate("the", config.settings))[1].reason is reason
        stop()
