"""A sequence and its reads under way, in whatever order they are begun, end, and turn out to be needed or not."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gac_app.decoding.alignment import Boundary
from gac_app.decoding.contexts.held_sequence import HeldSequence
from gac_app.decoding.distribution import MayDraft, ReadResult, Stage
from gac_app.decoding.forward import draft_after, take_results
from gac_app.decoding.member import InlineMember
from gac_app.models.base import LOCAL, Read
from gac_app.models.random_model import RandomModel
from tests.fakes import FakeModel, mapping_of

PROMPT = [1, 2, 3]
IDS = st.sampled_from([5, 6, 7])
CONTEXT_LENGTH = 12
START = Boundary(None, (), 0)


class LateMember(InlineMember):
    """Reads one after another, as a worker's thread does, but only when it is told to."""

    num_passes = 0

    def __init__(self, model: RandomModel) -> None:
        super().__init__(model, mapping_of(model))
        self.waiting: deque[tuple[Read, MayDraft | None, Future[ReadResult]]] = deque()

    def begin(self, read: Read, may_draft: MayDraft | None = None) -> Future[ReadResult]:
        self.waiting.append((read, may_draft, Future()))
        return self.waiting[-1][2]

    def start(self) -> None:
        """Begin the first read, unless it was cancelled: from then on it cannot be."""
        while self.waiting and self.waiting[0][2].cancelled():
            self.waiting.popleft()
        if self.waiting and not self.waiting[0][2].running():
            self.waiting[0][2].set_running_or_notify_cancel()

    def finish(self) -> None:
        """Read, and draft the next token if that is allowed."""
        self.start()
        if self.waiting:
            read, may_draft, future = self.waiting.popleft()
            result = next(take_results(self.model, self.mapping, [read], [may_draft]))
            self.num_passes += 1
            result.draft = draft_after(result, read.sequence, may_draft, self.mapping)
            if result.draft:
                self.waiting.appendleft((Read(read.sequence), result.draft.may_draft, result.draft.future))
            future.set_result(result)


class Reads(RuleBasedStateMachine):
    """See the diagram of `HeldSequence`."""

    boundaries: Bundle[Boundary] = Bundle("boundaries")

    @initialize(target=boundaries, num_greedy=st.integers(0, 5))
    def begin(self, num_greedy: int) -> Boundary:
        self.model = RandomModel("a", 1, context_length=CONTEXT_LENGTH)
        self.member = LateMember(self.model)
        start = Boundary(None, (), 0)
        self.held = HeldSequence(self.member, self.member.open(PROMPT, LOCAL), start, num_greedy)
        self.asked = start  # last, with
        self.draft_ids: list[int] = []
        return start

    @rule(target=boundaries, before=boundaries, ids=st.lists(IDS, min_size=1, max_size=2))
    def go_on(self, before: Boundary, ids: list[int]) -> Boundary:
        """From any boundary, not only the last one."""
        return Boundary(before, tuple(ids), before.end + len(ids))

    @precondition(lambda self: self.held.stage is Stage.DRAFT and not self.draft_ids)
    @rule(target=boundaries)
    def ask_for_what_was_drafted(self) -> Boundary:
        ids = self.held.sequence.ids[self.held.num_held :][: self.held._reads[0].num_ids]
        boundary = Boundary(self.asked, tuple(ids), self.asked.end + 1)
        self.ask(boundary, [], 0)
        assert self.held.stage is Stage.DUE, "it is accepted"
        return boundary

    @precondition(lambda self: not self.held.in_flight)
    @rule(boundary=boundaries, draft_ids=st.lists(IDS, max_size=2), more=st.integers(0, 2))
    def ask(self, boundary: Boundary, draft_ids: list[int], more: int) -> None:
        wanted, num_wanted = [*ids_to(boundary), *draft_ids], 1 + min(more, len(draft_ids))
        if len(PROMPT) + len(wanted) > CONTEXT_LENGTH:
            return
        self.asked, self.draft_ids = boundary, draft_ids
        under_way = self.held.reach(boundary, tuple(draft_ids), num_wanted)
        assert under_way is self.held.in_flight
        if self.held.stage is not Stage.REJECTED:
            assert self.held.sequence.ids[len(PROMPT) : self.held.num_held] == wanted
        if self.held.stage is Stage.DUE:
            assert self.held.last is boundary
        if not under_way:
            assert all(len(wanted) - behind in self.held.distributions for behind in range(num_wanted))

    @precondition(lambda self: not self.held.in_flight)
    @rule(more=st.integers(0, 2))
    def ask_again(self, more: int) -> None:
        self.ask(self.asked, self.draft_ids, more)

    @precondition(lambda self: self.held.in_flight and not self.held.in_flight.done())
    @rule()
    def wait_and_take(self) -> None:
        while self.held.in_flight and not self.held.in_flight.done():
            self.member.finish()
        self.take()

    @precondition(lambda self: self.held.in_flight and self.held.in_flight.done())
    @rule()
    def take(self) -> None:
        was_rejected, end = self.held.stage is Stage.REJECTED, self.held.end
        assert (self.held.take(0) is None) == was_rejected
        assert was_rejected or end in self.held.distributions

    @precondition(lambda self: not self.held.in_flight)
    @rule(num=st.integers(1, 3))
    def draft(self, num: int) -> None:
        self.held.draft(num)

    @rule()
    def start_a_pass(self) -> None:
        self.member.start()

    @rule()
    def finish_a_pass(self) -> None:
        self.member.finish()

    @invariant()
    def only_the_first_read_is_due_or_rejected(self) -> None:
        assert all(read.stage is Stage.DRAFT for read in list(self.held._reads)[1:])

    @invariant()
    def nothing_is_computed_beyond_what_is_held_and_drafted(self) -> None:
        held = self.held
        assert held.num_computed <= held.num_held + held.num_draft <= CONTEXT_LENGTH
        assert held.stage or not held.num_draft

    @invariant()
    def distributions_are_those_of_a_sequence_read_afresh(self) -> None:
        ids = self.held.sequence.ids[len(PROMPT) :]
        for num_ids, distribution in self.held.distributions.items():
            assert num_ids <= self.held.end
            assert distribution.argmax_id == self.argmax_after(ids[:num_ids])

    def argmax_after(self, ids: list[int]) -> int:
        logits_1V = self.model._logits_V([*PROMPT, *ids]).unsqueeze(0)
        return int(self.member.mapping.project(logits_1V).argmax())

    def teardown(self) -> None:
        """Every pass is counted, one under way too; nothing is read once the sequence is freed."""
        self.member.start()
        num_under_way = sum(future.running() for *_, future in self.member.waiting)
        self.held.close()
        assert self.held.usage.num_forwards == self.member.num_passes + num_under_way
        assert all(future.running() or future.cancelled() for *_, future in self.member.waiting)
        assert not self.model._num_cached


def ids_to(boundary: Boundary) -> list[int]:
    before = ids_to(boundary.parent) if boundary.parent else []
    return [*before, *boundary.ids]


def run(**changes: Any) -> None:
    run_state_machine_as_test(Reads, settings=settings(settings(), **changes))


def test_no_draft_follows_a_read_of_a_closed_sequence() -> None:
    model = RandomModel("a", 1, context_length=CONTEXT_LENGTH)
    member = LateMember(model)
    held = HeldSequence(member, member.open(PROMPT, LOCAL), START, num_greedy=5)
    held.reach(START)
    [(_, may_draft, future)] = member.waiting
    assert may_draft is not None
    assert may_draft.is_on
    member.start()
    held.close()
    assert future.running()
    assert not may_draft.is_on


class QuickMember(InlineMember):
    """Has read before anybody can look, and says so later."""

    def begin(self, *args: Any) -> Future[ReadResult]:
        over, told = super().begin(*args), Future[ReadResult]()
        threading.Timer(0.05, lambda: told.set_result(over.result())).start()
        return told


def test_a_draft_is_whole_however_soon_its_reads_are_over() -> None:
    model = FakeModel()
    held = HeldSequence(member := InlineMember(model, mapping_of(model)), member.open(PROMPT, LOCAL), START, 0)
    held.reach(START)
    held.take(0)
    held._member = QuickMember(model, member.mapping)
    held.draft(2)
    assert model.most_read == len(PROMPT) + 2


def test_reads_under_way_end_as_their_diagram_says() -> None:
    run(max_examples=4 * settings().max_examples, stateful_step_count=30)
