"""A member alone reads its argmax token before the session has taken it; the answer is as if it had not."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.executors.threads import ThreadMember
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


@pytest.mark.parametrize("how", [{}, {"max_new_tokens": 1}, {"max_new_tokens": 2}, {"stop": ["e"]}, {"temperature": 1}])
@pytest.mark.parametrize("context_length", [16, 4096])
@pytest.mark.parametrize("token", [None, b"e"])
@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_in_the_sessions_thread(
    seed: int, context_length: int, token: bytes | None, how: dict[str, Any]
) -> None:
    """There it reads nothing before it is asked, and nothing in vain."""
    found = []
    for member in (InlineMember, ThreadMember):
        with closing(ensemble_of([FakeModel(seed=seed, context_length=context_length)], member=member)) as ensemble:
            steps, finished = answer(ensemble, **how)
            found.append(facts(steps, finished) + facts(*answer(ensemble, Branch(tuple(steps[:3]), token), **how)))
            [usage] = finished.members.values()
            assert usage.num_forwards == len(steps) or member is ThreadMember
            assert usage.num_tokens_read >= sum(one.num_read for step in steps for one in step.members)
    assert found[0] == found[1]


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
