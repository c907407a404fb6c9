"""Sequences of one namespace read what they have in common once, and expect what they would have expected anyway."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from unittest.mock import Mock

import pytest
import torch

from gac_app.decoding.distribution.read_result import ReadResult
from gac_app.errors import MemberError
from gac_app.executors.prefix_cache import MAX_KEPT, MIN_SHARED, Kept, chat_prefix_of
from gac_app.executors.threads import ThreadMember
from gac_app.models.message import Message
from gac_app.models.sequence import LOCAL, ForwardRequest, KVSequence
from tests.fakes import WAIT_S, FakeModel, Fault, after, busy, fresh, in_worker, mapping_of, probs_of

PROMPT = list(range(65, 65 + 3 * MIN_SHARED))
CHAT_PREFIX = PROMPT[: 2 * MIN_SHARED]
NAMESPACE = "alice/talk"


class PrefixedModel(FakeModel):
    """Its chats begin with a system message."""

    def encode_chat(self, messages: list[Message]) -> list[int]:
        return [*CHAT_PREFIX, *(70 + len(message.content) for message in messages)]


class Desk:
    """One member, and reads of it."""

    def __init__(self, model: FakeModel) -> None:
        self.model = model
        self.member = ThreadMember(model, mapping_of(model))

    def read(self, sequence: KVSequence, ids: Sequence[int] = ()) -> ReadResult:
        return self.member.read(after(sequence, ids)).result(WAIT_S)

    def opened(self, ids: list[int], namespace: str = NAMESPACE) -> tuple[KVSequence, ReadResult]:
        sequence = self.member.open(ids, LOCAL, namespace)
        return sequence, self.read(sequence)

    def free(self, sequence: KVSequence) -> None:
        self.member.free(sequence)
        in_worker(self.member)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk(FakeModel("a", 1))
    yield desk
    desk.model.released.set()
    desk.member.close()


def test_the_same_prompt_is_read_once_up_to_its_last_id(desk: Desk) -> None:
    (one, first), (other, second) = desk.opened(PROMPT), desk.opened(PROMPT)
    assert torch.equal(probs_of(first), probs_of(second))
    assert (first.num_read, second.num_read) == (len(PROMPT), 1)
    for sequence, more in ((one, [70, 71]), (other, [72])):  # they go their own ways
        assert torch.equal(probs_of(desk.read(sequence, more)), fresh(desk.member, PROMPT + more))


def test_prompts_that_come_at_once_are_read_once(desk: Desk) -> None:
    pending = busy(desk.member, desk.model)
    waiting = [desk.member.read(after(desk.member.open(PROMPT, LOCAL, NAMESPACE))) for _ in range(3)]
    desk.model.released.set()
    results = [future.result(WAIT_S) for future in waiting]
    num_read = pending.result(WAIT_S).num_read
    assert desk.model.num_read == num_read + len(PROMPT) + 2
    assert all(torch.equal(probs_of(result), fresh(desk.member, PROMPT)) for result in results)


def test_a_prompt_that_goes_on_differently_shares_its_beginning(desk: Desk) -> None:
    desk.opened(PROMPT)
    ids = [*PROMPT[:-3], 90, 91]
    _, result = desk.opened(ids)
    assert desk.model.num_read == len(PROMPT) + 2
    assert torch.equal(probs_of(result), fresh(desk.member, ids))


def test_an_unused_sequence_is_taken_over_before_one_is_copied(desk: Desk) -> None:
    (left, _), (used, _) = desk.opened(PROMPT), desk.opened(PROMPT)
    desk.free(left)
    num_held = desk.model.num_held
    desk.opened(PROMPT)
    assert desk.model.num_held == num_held
    assert torch.equal(probs_of(desk.read(used, [70])), fresh(desk.member, [*PROMPT, 70]))


def test_without_a_namespace_nothing_is_shared(desk: Desk) -> None:
    first, _ = desk.opened(PROMPT, "")
    for num_opened in (2, 3):
        _, result = desk.opened(PROMPT, "")
        assert (result.num_read, desk.model.num_read) == (len(PROMPT), num_opened * len(PROMPT))
        assert torch.equal(probs_of(result), fresh(desk.member, PROMPT))
        if num_opened == 2:
            desk.member.free(first)  # and nothing is kept of it
    assert desk.member.kept.num_sequences == 0


@pytest.mark.parametrize("namespace", ["", "alice/another", "bob/talk", "alice"])
def test_nothing_is_shared_across_scopes(desk: Desk, namespace: str) -> None:
    desk.member.free(desk.opened(PROMPT)[0])
    desk.opened(PROMPT, namespace)
    assert desk.model.num_read == 2 * len(PROMPT)


def test_little_is_not_kept(desk: Desk) -> None:
    desk.free(desk.opened(PROMPT[: MIN_SHARED - 1])[0])
    assert desk.member.kept.num_sequences == 0


def test_an_ended_sequence_is_gone_on_from_without_a_copy(desk: Desk) -> None:
    first, _ = desk.opened(PROMPT)
    desk.read(first, [70, 71])
    desk.member.free(first)
    turn = [*PROMPT, 70, 71, 80, 81]
    _, result = desk.opened(turn)
    assert (desk.model.num_read, desk.model.num_held) == (len(turn), 1)
    assert torch.equal(probs_of(result), fresh(desk.member, turn))


def test_what_is_kept_is_bounded_in_ids_and_told() -> None:
    model = FakeModel("a", 1, context_length=100)
    model.bytes_per_id = 10
    desk = Desk(model)
    for number in range(6):
        desk.free(desk.opened([100 + number] * 90, f"alice/{number}")[0])
        num_kept = min(number + 1, 2)  # three would be more than two contexts
        assert desk.member.kept == Kept(num_kept, MAX_KEPT, 90 * num_kept, 200, 900 * num_kept, 2000)
        assert model.num_held == num_kept
    desk.free(desk.opened(PROMPT, "alice/short")[0])
    assert (desk.member.kept.num_sequences, desk.member.kept.num_ids) == (2, 90 + len(PROMPT))
    desk.member.close()


@pytest.mark.parametrize(("forgotten", "num_held"), [(NAMESPACE, 1), ("alice", 1), ("bob", 2), ("alice/t", 3), ("", 3)])
def test_what_is_forgotten_is_freed_and_no_longer_kept(desk: Desk, forgotten: str, num_held: int) -> None:
    live, _ = desk.opened(PROMPT)
    desk.member.free(desk.opened(PROMPT)[0])
    desk.member.free(desk.opened(PROMPT, "bob/talk")[0])
    desk.member.forget(forgotten)
    desk.free(live)
    assert desk.model.num_held == num_held
    assert {kept.namespace for kept in desk.member._scheduler.prefix_cache._kept} == {NAMESPACE, "bob/talk"} - (
        {NAMESPACE} if forgotten in (NAMESPACE, "alice") else {"bob/talk"} if forgotten == "bob" else set()
    )


def test_what_is_forgotten_before_it_is_read_is_not_kept(desk: Desk) -> None:
    sequence = desk.member.open(PROMPT, LOCAL, NAMESPACE)
    desk.member.forget(NAMESPACE)
    desk.read(sequence)
    desk.free(sequence)
    assert desk.model.num_held == desk.member.kept.num_sequences == 0


OUT_OF_MEMORY = (
    torch.OutOfMemoryError(),
    MemoryError("Unable to allocate 594. KiB for an array"),  # NumPy's
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: 4 bytes"),
    RuntimeError("std::bad_alloc"),  # C++, as GCC words it
    RuntimeError("bad allocation"),  # and as MSVC does
    RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=("cuda", "numpy", "torch", "gcc", "msvc", "onnxruntime"))
@pytest.mark.parametrize("num_reads", [1, 2])
def test_kept_sequences_are_given_up_where_memory_ends(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, num_reads: int, error: Exception
) -> None:
    desk.free(desk.opened(PROMPT)[0])
    real, has_begun = desk.model.read, threading.Event()

    def read(requests: list[ForwardRequest]) -> list[torch.Tensor]:
        has_begun.wait(WAIT_S)
        if desk.model.num_held > num_reads:
            raise error
        return real(requests)

    freed: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(True))
    monkeypatch.setattr(desk.model, "read", read)
    others = [desk.member.open(PROMPT, LOCAL, f"visitor {number}") for number in range(num_reads)]
    results = [desk.member.read(after(sequence)) for sequence in others]
    has_begun.set()
    for result in results:
        assert torch.equal(probs_of(result.result(WAIT_S)), fresh(desk.member, PROMPT))
    assert freed, "what torch keeps of the device's memory"


@pytest.fixture
def opened(desk: Desk) -> Iterator[Desk]:
    """A desk whose member's chats share a prefix."""
    desk = Desk(PrefixedModel("a", 1))
    yield desk
    desk.member.close()


@pytest.mark.parametrize("namespace", ["", "bob/talk"])
def test_the_chat_prefix_is_shared_and_no_more(opened: Desk, namespace: str) -> None:
    _, first = opened.opened(PROMPT)
    _, second = opened.opened(PROMPT, namespace)
    rest = len(PROMPT) - len(CHAT_PREFIX)
    assert opened.model.num_read_at_once == [len(PROMPT), rest]
    assert torch.equal(probs_of(first), probs_of(second))
    assert (first.num_read, second.num_read) == (len(PROMPT), rest)


def test_fixed_chunks_begin_with_the_first_id(opened: Desk) -> None:
    opened.opened(PROMPT)
    assert opened.read(opened.member.open(PROMPT, LOCAL, is_reproducible=True)).num_read == len(PROMPT)
    for is_reproducible in (False, True):  # nor does an earlier turn go on from a later one
        opened.read(opened.member.open([*PROMPT, 70, 71, 72], LOCAL, NAMESPACE, is_reproducible=is_reproducible))
        again = opened.member.open(PROMPT, LOCAL, NAMESPACE, is_reproducible=True)
        assert opened.read(again, [70, 71]).num_read == len(PROMPT) + 2
        opened.member.forget(NAMESPACE)


def test_the_chat_prefix_is_copied_of_the_shortest(opened: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy may hold all that the other one has read."""
    held = [opened.opened([*PROMPT, *[90] * more], f"visitor {more}")[0] for more in (2, 1, 3)]
    monkeypatch.setattr(opened.model, "fork", fork := Mock(wraps=opened.model.fork))
    opened.opened(PROMPT, "bob/talk")
    assert [call.args for call in fork.mock_calls] == [(held[1],)]


def test_the_chat_prefix_outlasts_the_sessions(opened: Desk) -> None:
    for _ in range(3):
        opened.free(opened.opened(PROMPT, "")[0])
        assert opened.model.num_held == 1
    [kept] = opened.member._scheduler.prefix_cache._kept
    assert (kept.namespace, [*kept.ids], opened.model._cached[kept.slot]) == ("", CHAT_PREFIX, CHAT_PREFIX)
    assert opened.model.num_read == len(CHAT_PREFIX) + 3 * (len(PROMPT) - len(CHAT_PREFIX))


def test_a_failed_pass_is_no_prefix_for_others(opened: Desk) -> None:
    first, _ = opened.opened(PROMPT)
    opened.model.fault = Fault("nan")
    with pytest.raises(MemberError):
        opened.read(first, [70])
    opened.model.fault = None
    num_read = opened.model.num_read
    assert torch.equal(probs_of(opened.opened(PROMPT, "bob/talk")[1]), fresh(opened.member, PROMPT))
    assert opened.model.num_read == num_read + len(PROMPT)


def test_without_room_for_a_copy_the_prefix_is_read_again() -> None:
    desk = Desk(PrefixedModel("a", 1, max_sequences=1))
    desk.member.free(desk.opened(PROMPT, "")[0])
    assert torch.equal(probs_of(desk.opened(PROMPT, "bob/talk")[1]), fresh(desk.member, PROMPT))
    assert desk.model.num_read == 2 * len(PROMPT)
    desk.member.close()


def test_what_is_soon_read_is_no_chat_prefix() -> None:
    model = PrefixedModel("a", 1)
    assert [*chat_prefix_of(model)] == CHAT_PREFIX
    model.device = torch.device("cuda")
    assert chat_prefix_of(model) == ()
    assert chat_prefix_of(FakeModel("a", 1)) == ()
