"""Whatever is raised in a member's thread, those who wait are told, the worker goes on, and the host says the truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
import torch

from gac_app.errors import MemberError
from gac_app.executors import threads
from gac_app.executors.threads import ThreadMember
from gac_app.models.sequence import KVSequence
from tests.fakes import WAIT_S, FakeModel, Fault, after, busy, fresh, in_worker, mapping_of, open_text, probs_of
from tests.services.house import until


class Ends(BaseException):
    """Not even an `Exception`."""


class BreakingModel(FakeModel):
    """Cannot free a sequence where a test wants it."""

    can_free = True

    def free(self, sequence: KVSequence) -> None:
        if not self.can_free:
            raise Ends
        super().free(sequence)


ERRORS = [RuntimeError("planned"), KeyError("planned"), SystemExit(3), Ends("planned"), GeneratorExit()]


@pytest.fixture
def model() -> BreakingModel:
    return BreakingModel()


@pytest.fixture
def member(model: BreakingModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadMember]:
    monkeypatch.setattr(threads, "PROBE_S", 0.01)
    member = ThreadMember(model, mapping_of(model))
    yield member
    model.released.set()
    member.close()


@pytest.mark.parametrize("error", [*ERRORS, "nan", "inf"], ids=repr)
def test_only_the_culprit_of_a_pass_is_told(member: ThreadMember, model: BreakingModel, error: Any) -> None:
    """The others get what they would get without it, at their next step too, and are read again only if need be."""
    is_number, pending = isinstance(error, str), busy(member, model)
    sequences = [open_text(member, text) for text in ("good one", "BAD", "good two")]
    waiting = [member.read(after(sequence)) for sequence in sequences]
    model.fault = Fault(error, marker=b"BAD") if is_number else Fault("raise", marker=b"BAD", error=error)
    model.released.set()
    pending.result(WAIT_S)
    with pytest.raises(MemberError, match="a: its logits" if is_number else f"a: {type(error).__name__}") as caught:
        waiting[1].result(WAIT_S)
    assert caught.value.kind == ("non-finite" if is_number else "exception")
    for number in (0, 2):
        found, prompt = waiting[number].result(WAIT_S), sequences[number].prompt
        assert torch.equal(probs_of(found), fresh(member, prompt))
        assert found.num_read == len(prompt)
    in_worker(member)
    assert model.batches == [1, 3, *([1, 1] if is_number else [1, 1, 1, 1])], "a model that raises is probed"
    live = member._scheduler.prefix_cache._live
    assert [sequence in live for sequence in sequences] == [True, False, True], "others may go on from them"
    again = member.read(after(sequences[2], [65])).result(WAIT_S)
    assert torch.equal(probs_of(again), fresh(member, sequences[2].ids))


def test_a_member_that_hangs_in_a_pass_says_so(member: ThreadMember, model: BreakingModel) -> None:
    hanging = busy(member, model)
    assert "one pass" in member.why_unready(0.0)
    assert not member.why_unready(WAIT_S)
    model.released.set()
    hanging.result(WAIT_S)
    in_worker(member)
    assert not member.why_unready(0.0)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("place", ["allocate", "compute", "compute_chunk"])
def test_all_of_a_broken_round_are_told(
    member: ThreadMember, model: BreakingModel, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    model.chunk_size = 4
    scheduler = member._scheduler
    breaking = scheduler.prefix_cache if place == "allocate" else scheduler.computer
    pending = busy(member, model)
    sequences = [open_text(member, text) for text in ("one", "a longer prompt than a chunk")]
    waiting = [member.read(after(sequence)) for sequence in sequences]
    with monkeypatch.context() as patch:
        patch.setattr(breaking, place, fail)
        model.released.set()
        pending.exception(WAIT_S)
        with pytest.raises(MemberError, match=rf"a: {type(error).__name__}"):
            waiting[1].result(WAIT_S)
        waiting[0].exception(WAIT_S)
    for sequence in sequences:
        member.free(sequence)
    assert member.read(after(open_text(member, "after"))).result(WAIT_S).num_read > 0


def test_a_call_that_breaks_does_not_end_the_worker(member: ThreadMember, model: BreakingModel) -> None:
    sequence = open_text(member, "freed in vain")
    member.read(after(sequence)).result(WAIT_S)
    model.can_free = False
    member.free(sequence)
    assert member.read(after(open_text(member, "after"))).result(WAIT_S).num_read > 0
    model.can_free = True


def test_a_model_that_fails_always_is_not_ready_until_it_works(member: ThreadMember, model: BreakingModel) -> None:
    assert member.failure == ""
    model.fault = Fault("raise", error=SystemExit(3))
    with pytest.raises(MemberError):
        member.read(after(open_text(member, "one"))).result(WAIT_S)
    until(lambda: member.failure == "SystemExit: 3")
    model.fault = None
    until(lambda: member.failure == "")


def test_one_bad_prompt_does_not_make_a_member_unready(member: ThreadMember, model: BreakingModel) -> None:
    model.fault = Fault("raise", marker=b"BAD", error=SystemExit(3))
    with pytest.raises(MemberError):
        member.read(after(open_text(member, "BAD"))).result(WAIT_S)
    in_worker(member)
    assert member.failure == ""
    assert model.num_held == 1, "the sequence of the trial is freed"


def test_a_member_whose_worker_ended_releases_its_model(
    member: ThreadMember, model: BreakingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> NoReturn:
        raise Ends

    monkeypatch.setattr(member._scheduler, "idle_s", fail)
    member.forget("wakes it")
    until(lambda: member.failure.startswith("its worker has ended"))
    assert not model.is_closed
    member.close()
    assert model.is_closed
