"""Members that draft along their own argmax tokens: answers are as if they had waited."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.contexts.held_sequence import HeldSequence
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishReason
from gac_app.executors.threads import ThreadMember
from tests.decoding.answers import EVERY_STEP, LETTERS, decoded, facts, twins
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of


def always() -> AbstractContextManager[object]:
    """Let members draft behind every pass that they were asked for, under any condition."""
    return patch.object(HeldSequence, "_can_draft", True)


def never() -> AbstractContextManager[object]:
    """Let them read nothing without being asked."""
    return patch.object(HeldSequence, "_can_draft", False)


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["paper", "prefix"])
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 3),
    temperature=st.sampled_from([0.0, 1.0]),
    how=st.sampled_from([{}, {"mode": "gate", "threshold": 0.4}, {"mode": "gate", "gate_policy": "eager"}]),
)
def test_rejected_drafts_change_nothing(
    alignment: str, seed: int, num: int, temperature: float, how: dict[str, Any]
) -> None:
    """Of members that cut at every place otherwise."""
    ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words=8))
    how = {"alignment": alignment, "temperature": temperature, "seed": seed, **how}
    with never():
        expected = facts(*decoded(ensemble, **how))
    assert facts(*decoded(ensemble, **how)) == expected
    with always():
        assert facts(*decoded(ensemble, **how)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("alignment", ["paper", "prefix"])
@pytest.mark.parametrize("seed", range(8))
def test_nor_in_threads_of_their_own(seed: int, alignment: str) -> None:
    models = [FakeModel(name="a", seed=seed), FakeModel(name="b", seed=seed + 1)]
    with closing(ensemble_of(models)) as ensemble:
        with never():
            expected = facts(*decoded(ensemble, alignment=alignment))
        with always():
            assert facts(*decoded(ensemble, alignment=alignment)) == expected
        assert facts(*decoded(ensemble, alignment=alignment)) == expected
    assert [model.num_held for model in models] == [0, 0]


def test_a_branch_that_takes_another_token_goes_on_from_it() -> None:
    def other_of(ensemble: Ensemble) -> list[Any]:
        steps, _ = decoded(ensemble)
        other = next(candidate.token for candidate in steps[3].top[1:] if candidate.token)
        return facts(*decoded(ensemble, Branch(tuple(steps[:3]), other)))

    with never():
        expected = other_of(make(1, 2))
    with always():
        assert other_of(make(1, 2)) == expected


@pytest.mark.parametrize("member", [InlineMember, ThreadMember])
@pytest.mark.parametrize("from_read", [1, 2, 3])
def test_a_failing_pass_ends_the_answer_where_it_is_asked_for(from_read: int, member: Any) -> None:
    models = twins(fault=Fault("raise", from_read))
    with closing(ensemble_of(models, config_of(["a", "b"]), member)) as ensemble:
        steps, finished = decoded(ensemble)
    assert (len(steps), finished.reason) == (from_read, FinishReason.ERROR)
    assert [model.num_held for model in models] == [0, 0]


@pytest.mark.parametrize("room", range(5))
def test_nothing_is_read_beyond_a_full_context(room: int) -> None:
    models = twins(context_length=6 + room)
    with closing(ensemble_of(models)) as ensemble:
        with never():
            expected = facts(*decoded(ensemble))
        assert facts(*decoded(ensemble)) == expected
    assert expected[-2] is FinishReason.LENGTH


def test_a_session_that_is_closed_leaves_nothing_behind() -> None:
    models = twins(delay_s=0.01)
    with closing(ensemble_of(models)) as ensemble:
        events = ensemble.session("the", ensemble.config.settings_from(EVERY_STEP), raw=True).events()
        next(events)
        events.close()
        num_passes = len(models[1].batches)
    assert len(models[1].batches) <= num_passes + 1
    assert [model.num_held for model in models] == [0, 0]
