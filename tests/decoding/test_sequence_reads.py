"""Reads of sessions that share a model, in whatever order they are begun, cancelled, computed, and fail."""

from __future__ import annotations

from concurrent.futures import Future
from unittest.mock import Mock

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.contexts import MemberContext, gathering
from gac_app.decoding.contexts.gathering import Wait
from gac_app.decoding.contexts.sequence_reads import SequenceReads
from gac_app.decoding.distribution import ReadResult
from gac_app.decoding.member import InlineMember
from gac_app.errors import MemberError
from gac_app.executors.batch_scheduler import BatchScheduler
from gac_app.executors.fair_queue import ReadCommand
from gac_app.executors.prefix_cache import NO_SLOT
from gac_app.models.sequence import LOCAL, ForwardRequest, KVSequence, Share
from tests.fakes import FakeModel, Fault, fresh, mapping_of

CONTEXT_LENGTH, MAX_SEQUENCES = 40, 4
PROMPTS = [(65, 66, 67), tuple(range(65, 65 + 12)), (*range(65, 65 + 12), 90)]
SESSIONS = st.integers(0, 2)
IDS = st.lists(st.sampled_from([97, 98, 99]), max_size=3).map(tuple)


class ByHand(InlineMember):
    """A member whose worker computes when a test says so."""

    def __init__(self, model: FakeModel) -> None:
        super().__init__(model, mapping_of(model))
        self.scheduler = BatchScheduler(model, self.mapping)

    def open(self, ids: list[int], share: Share, namespace: str = "", *, is_reproducible: bool = False) -> KVSequence:
        return KVSequence(NO_SLOT, tuple(ids), share=share, namespace=namespace)

    def read(self, request: ForwardRequest) -> Future[ReadResult]:
        command = ReadCommand(request, Future())
        self.scheduler.add(command)
        return command.future

    def free(self, sequence: KVSequence) -> None:
        self.scheduler.free(sequence)


class Reads(RuleBasedStateMachine):
    """Up to three sessions, each with what it was asked to read last."""

    @initialize(chunk_size=st.sampled_from([3, 512]))
    def begin(self, chunk_size: int) -> None:
        self.model = FakeModel(context_length=CONTEXT_LENGTH, max_sequences=MAX_SEQUENCES)
        self.model.chunk_size = chunk_size
        self.member = ByHand(self.model)
        self.sessions: dict[int, tuple[SequenceReads, tuple[int, ...]]] = {}

    @rule(number=SESSIONS, prompt=st.sampled_from(PROMPTS), namespace=st.sampled_from(["", "talk"]))
    def open(self, number: int, prompt: tuple[int, ...], namespace: str) -> None:
        if number not in self.sessions:
            sequence = self.member.open(list(prompt), ("address", str(number)), namespace)
            self.sessions[number] = SequenceReads(self.member, sequence), ()

    @rule(number=SESSIONS, kept=st.integers(0, 8), ids=IDS, num_wanted=st.integers(1, 3))
    def ask(self, number: int, kept: int, ids: tuple[int, ...], num_wanted: int) -> None:
        """Go on from what was asked before, or from before that."""
        if number in self.sessions:
            reads, before = self.sessions[number]
            wanted = before[:kept] + ids
            if len(wanted) <= reads.max_ids:
                self.sessions[number] = reads, wanted
                reads.ensure_computed(wanted, min(num_wanted, len(wanted) + 1))

    @rule(number=SESSIONS)
    def follow_the_draft(self, number: int) -> None:
        if number in self.sessions:
            reads, before = self.sessions[number]
            token_id = reads.drafted_after(before)
            if token_id is not None:
                self.sessions[number] = reads, before + self.member.mapping.feed(token_id)
                future = reads.ensure_computed(self.sessions[number][1])
                assert future is None or not future.cancelled()

    @rule(number=SESSIONS, num=st.integers(1, 3))
    def draft(self, number: int, num: int) -> None:
        if number in self.sessions:
            reads, before = self.sessions[number]
            reads.draft_ahead(before, num)

    @rule(number=SESSIONS)
    def wait_and_collect(self, number: int) -> None:
        """What was asked for is known then, or it fails; then it is asked for again."""
        if number in self.sessions:
            reads, wanted = self.sessions[number]
            while future := reads.ensure_computed(wanted):
                while not future.done():
                    self.member.scheduler.advance()
                try:
                    reads.collect()
                except MemberError:
                    assert self.model.fault or future.exception()
                    reads.cancel()
                    self.model.fault = None
            assert wanted in reads._known

    @rule()
    def compute(self) -> None:
        self.member.scheduler.advance()

    @rule(number=SESSIONS)
    def cancel(self, number: int) -> None:
        if number in self.sessions:
            self.sessions[number][0].cancel()

    @rule(kind=st.sampled_from(["nan", "raise"]), marker=st.sampled_from([b"a", b"bc", b"A"]))
    def break_down(self, kind: str, marker: bytes) -> None:
        self.model.fault = Fault(kind, marker=marker)  # type: ignore[arg-type]

    @rule()
    def work_again(self) -> None:
        self.model.fault = None

    @rule(number=SESSIONS)
    def close(self, number: int) -> None:
        if number in self.sessions:
            reads, _ = self.sessions.pop(number)
            reads.close()
            num_forwards = reads.usage.num_forwards
            self.member.scheduler.advance()
            assert reads.usage.num_forwards == num_forwards
            assert not any(command.sequence is reads.sequence for command in self.member.scheduler._pending)

    @invariant()
    def every_distribution_is_a_fresh_models(self) -> None:
        for reads, _ in getattr(self, "sessions", {}).values():
            for ids, (distribution, _) in reads._known.items():
                assert torch.equal(distribution.probs_U, fresh(self.member, reads.sequence.prompt + ids)[0])

    @invariant()
    def a_cache_holds_what_its_sequence_says(self) -> None:
        for reads, _ in getattr(self, "sessions", {}).values():
            sequence = reads.sequence
            assert len(sequence.ids) <= CONTEXT_LENGTH
            assert tuple(self.model._cached[sequence.slot][: len(sequence.ids)]) == sequence.ids

    def teardown(self) -> None:
        """Every pass is counted, and nothing is held but what the prefix cache keeps."""
        for number in [*getattr(self, "sessions", {})]:
            self.close(number)
            self.member.scheduler.prefix_cache.evict_kept()
        if hasattr(self, "model"):
            self.member.scheduler.prefix_cache.evict_kept()
            assert not self.model.num_held


@pytest.mark.hypothesis
def test_reads_give_what_a_fresh_model_gives() -> None:
    often = settings(max_examples=4 * settings().max_examples, stateful_step_count=40)
    run_state_machine_as_test(Reads, settings=often)


def opened(model: FakeModel) -> tuple[ByHand, SequenceReads]:
    member = ByHand(model)
    return member, SequenceReads(member, member.open([65, 66], LOCAL))


def test_only_what_is_not_known_is_read_and_once() -> None:
    member, reads = opened(model := FakeModel())
    first = reads.ensure_computed((97, 98), 2)
    assert reads.ensure_computed((97,)) is first, "it gives that too"
    member.scheduler.advance()
    assert reads.ensure_computed((97, 98), 2) is None
    reads.ensure_computed((97, 98, 99), 3)
    member.scheduler.advance()
    assert model.num_read_at_once == [4, 1]


def test_what_is_no_longer_wanted_is_not_begun() -> None:
    member, reads = opened(model := FakeModel())
    left = reads.ensure_computed((97,))
    wanted = reads.ensure_computed((98,))
    member.scheduler.advance()
    assert left
    assert wanted
    assert left.cancelled()
    assert wanted.result(0)
    assert model.num_read_at_once == [3]


def test_what_is_cancelled_with_a_draft_is_asked_anew() -> None:
    member = ByHand(FakeModel())
    context = MemberContext(member, member.open([65, 66], LOCAL))
    context.prefetch()
    context.drop_draft()
    asked = context.ask()
    assert asked
    assert not asked.cancelled()


def test_a_step_is_charged_for_the_reads_that_it_uses_first() -> None:
    member, reads = opened(FakeModel())
    reads.ensure_computed((97,), 2)
    member.scheduler.advance()
    covers = Covers(member.mapping)
    assert not reads.fill_in(covers)
    assert (reads.num_read, reads.usage.num_tokens_read) == (3, 3)
    reads.end_step(0)
    covers = Covers(member.mapping)
    covers.beam[0].boundary = Boundary(None, (97,), 1)
    assert not reads.fill_in(covers)
    assert reads.num_read == 0


def test_a_sequence_that_takes_over_a_prefill_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has less then than the one that it waited for."""
    clock = Mock(monotonic=Mock(return_value=0.0))
    monkeypatch.setattr(gathering, "time", clock)
    sequence = KVSequence(1, timeout_s=1.0, waits_for=KVSequence(0, ids=(1, 2, 3)))
    wait = Wait([sequence])
    sequence.waits_for, sequence.ids = None, (1,)
    for clock.monotonic.return_value in (0.9, 1.5):
        wait.check(Future(), Mock(), sequence)
    clock.monotonic.return_value = 2.0
    with pytest.raises(MemberError):
        wait.check(Future(), Mock(), sequence)
