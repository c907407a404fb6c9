"""A member alone reads its argmax token before the session has taken it; the answer is as if it had not."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.contexts.held_sequence import HeldSequence
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import LOCAL
from tests.decoding.conftest import make
from tests.fakes import FakeModel, Fault, config_of, ensemble_of


def answer(ensemble: Ensemble, branch: Branch | None = None, **how: Any) -> tuple[list[StepTrace], FinishedEvent]:
    settings = ensemble.config.settings_from({"max_new_tokens": 16, **how})
    name = next(iter(ensemble.members))
    *events, finished = ensemble.session("the", settings, raw=True, alone=name, branch=branch).events()
    assert isinstance(finished, FinishedEvent)
    return [event.step for event in events if isinstance(event, TokenEvent)], finished


def facts(steps: list[StepTrace], finished: FinishedEvent) -> list[Any]:
    values = [(s.token, s.prob, s.top, [(m.prob, m.rank, m.num_read) for m in s.members]) for s in steps]
    return [*values, finished.text, finished.reason, finished.detail, finished.num_tokens]


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing is read before the session asks."""
    monkeypatch.setattr(HeldSequence, "_can_draft", False)


@pytest.mark.parametrize("how", [{}, {"max_new_tokens": 1}, {"max_new_tokens": 2}, {"stop": ["e"]}, {"temperature": 1}])
@pytest.mark.parametrize("context_length", [16, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_answers_are_the_same(
    seed: int, context_length: int, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    early = facts(*answer(make(seed, context_length=context_length), **how))
    unhurried(monkeypatch)
    assert facts(*answer(make(seed, context_length=context_length), **how)) == early


@pytest.mark.parametrize("context_length", [16, 4096])
@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_read_in_vain(seed: int, context_length: int) -> None:
    steps, finished = answer(make(seed, context_length=context_length))
    [usage] = finished.members.values()
    assert (usage.num_forwards, finished.num_tokens) == (len(steps), len(steps))
    assert usage.num_tokens_read == sum(member.num_read for step in steps for member in step.members)


@pytest.mark.parametrize("seed", range(6))
def test_a_branch_that_takes_another_token_goes_on_from_it(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, _ = answer(make(seed))
    other = next(candidate.token for candidate in steps[1].top[1:] if candidate.token)
    branch = Branch(tuple(steps[:1]), other)
    branched, finished = answer(make(seed), branch)
    assert branched[1].token == other
    unhurried(monkeypatch)
    assert facts(branched, finished) == facts(*answer(make(seed), branch))


@pytest.mark.parametrize("token", [None, b"e"])
@pytest.mark.parametrize("seed", range(3))
def test_a_thread_of_its_own_changes_nothing(seed: int, token: bytes | None) -> None:
    found = []
    for member in (InlineMember, ThreadMember):
        with closing(ensemble_of([FakeModel(seed=seed)], member=member)) as ensemble:
            steps, _ = answer(ensemble)
            found.append(facts(*answer(ensemble, Branch(tuple(steps[:3]), token))))
    assert found[0] == found[1]


def test_it_is_one_pass_ahead_and_no_more() -> None:
    model = FakeModel()
    with closing(ensemble_of([model], config_of([model.name]), InlineMember)) as ensemble:
        member = ensemble.members[model.name]
        context = MemberContext(member, member.open([1, 2], LOCAL), num_greedy=4)
        num_passes, text = [], b""
        for _ in range(4):
            context.ask()
            member_step = context.take()
            assert member_step
            num_passes.append(len(model.batches))
            assert context.text.written == text
            text += member.mapping.union.tokens[member_step.distribution.argmax_id]
            context.feed(member_step.distribution.argmax_id)
            assert context.text.written == text
        context.close()
    assert num_passes == [2, 2, 4, 4]
    assert model.num_held == 0


@pytest.mark.parametrize("from_read", [0, 1, 3])
def test_a_failing_pass_ends_the_answer_where_it_is_asked_for(from_read: int) -> None:
    model = FakeModel(fault=Fault("raise", from_read))
    with closing(ensemble_of([model], config_of([model.name]))) as ensemble:
        steps, finished = answer(ensemble)
    assert (len(steps), finished.reason) == (from_read, FinishReason.ERROR)
    assert "planned" in finished.detail
    assert model.num_held == 0


def test_a_session_that_is_closed_leaves_nothing_behind() -> None:
    model = FakeModel(delay_s=0.01)
    with closing(ensemble_of([model], config_of([model.name]))) as ensemble:
        events = ensemble.session("the", raw=True, alone=model.name).events()
        next(events)
        events.close()
        num_passes = len(model.batches)
    assert len(model.batches) <= num_passes + 1
    assert model.num_held == 0
