"""Drafts change which pass reads what, and nothing else: every step is what it is without them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.speculation import overlapped
from gac_app.decoding.trace.events import FinishReason, MemberUsage, StepTrace
from gac_app.executors.threads import ThreadMember
from gac_app.models.base import Model
from gac_app.models.sequence import ForwardRequest
from tests.decoding.answers import EVERY_STEP, LETTERS, counted, decoded, facts, twins
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import WAIT_S, FakeModel, Fault, config_of, ensemble_of

LED = range(len("ab é") + 1, len("ab é") + 23)
EAGER: dict[str, Any] = {"mode": "gate", "threshold": 0.5, "gate_policy": "eager", "max_new_tokens": 24}

CHOOSING = st.sampled_from(
    [{}, {"temperature": 0.8, "seed": 3}, {"temperature": 1.2, "top_p": 0.9}, {"repetition_penalty": 1.4}]
)


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows."""
    with patch.object(Model, "is_chunk_invariant", True):
        yield


@pytest.fixture
def anybody() -> Iterator[None]:
    """However fast a member is, it may be the one that drafts."""
    with patch.object(overlapped, "_MUCH_FASTER", 0.0):
        yield


def assert_same(ensemble: Ensemble, **how: Any) -> list[StepTrace]:
    expected = facts(*decoded(ensemble, speculation="off", **how))
    steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == expected
    return steps


@pytest.mark.slow
@pytest.mark.usefixtures("anybody")
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 3),
    weights=st.sampled_from(["average", "posterior"]),
    max_new_tokens=st.integers(1, 24),
    context_length=st.integers(10, 60),
    stop=st.sampled_from([(), ("a",), ("b a",)]),
    choosing=CHOOSING,
    speeds=st.randoms(use_true_random=False),
)
def test_every_step_is_what_it_is_without(
    seed: int, num: int, context_length: int, choosing: dict[str, Any], speeds: Random, **how: Any
) -> None:
    """Of members that cut at every place otherwise, to the last bit, and whichever seems the fastest at a step."""
    with patch.object(MemberContext, "usage", property(lambda _: MemberUsage(1, 1, speeds.random()))):
        assert_same(toy_ensemble(toys(seed, num, LETTERS, num_words=8), context_length), **choosing, **how)


@pytest.mark.slow
@pytest.mark.usefixtures("anybody")
@given(
    seed=st.integers(0, 1000),
    threshold=st.floats(0.1, 0.9),
    choosing=CHOOSING,
    draws=st.randoms(use_true_random=False),
)
def test_so_it_is_with_an_eager_or_auto_gate(
    seed: int, threshold: float, choosing: dict[str, Any], draws: Random
) -> None:
    """With auto, others use the members now and then."""
    ensemble = toy_ensemble(toys(seed, 2, LETTERS, num_words=8))
    how = {**EAGER, "threshold": threshold, **choosing}
    assert_same(ensemble, **how)
    with patch.object(InlineMember, "is_free_for", lambda *_: draws.random() < 0.7):
        assert_same(ensemble, **{**how, "gate_policy": "auto"})


@pytest.mark.slow
@pytest.mark.usefixtures("anybody")
@pytest.mark.parametrize(
    "how", [EVERY_STEP, EAGER, {**EAGER, "gate_policy": "auto"}], ids=["every step", "eager", "auto"]
)
@pytest.mark.parametrize("delays_ms", [(0, 1, 2), (5, 12, 12)], ids=str)  # ahead in time, and reading as a step begins
@pytest.mark.parametrize("seed", range(4))
def test_and_in_threads(seed: int, delays_ms: tuple[int, ...], how: dict[str, Any]) -> None:
    models = [
        FakeModel(name=name, seed=seed + i, delay_s=ms / 1000)
        for i, (name, ms) in enumerate(zip("abc", delays_ms, strict=True))
    ]
    with closing(ensemble_of(models)) as ensemble:
        assert_same(ensemble, **how)
    assert [model.num_held for model in models] == [0, 0, 0]


@dataclass
class Follower(FakeModel):
    """Has its leader's taste, and takes longer: until that one has read further than this pass does.

    Args:
        led: the lengths of context at which the leader will. It does not at the first pass, whose time tells that it is
            the faster one, and at the last.
        beside: those at which the leader will have read as far.
    """

    seed: int = 5
    leader: FakeModel = field(default_factory=FakeModel)
    led: range = range(0)
    beside: range = range(0)

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        until, num_ids = time.monotonic() + WAIT_S, max(len(request.ids) for request in requests)
        while self.leader.most_read < num_ids + (num_ids in self.led) and num_ids in (*self.led, *self.beside):
            assert time.monotonic() < until, "the leader does not read on"
            time.sleep(0.0005)
        return super().read(requests)


@pytest.fixture
def known_pace() -> Iterator[None]:
    """A follower is slower, whatever a busy machine makes of the times."""
    counts = MemberContext.usage.fget

    def usage(context: MemberContext) -> MemberUsage:
        found, pass_s = counts(context), 1.0 if isinstance(context.member.model, Follower) else 0.1
        return replace(found, seconds=pass_s * found.num_forwards)

    with patch.object(MemberContext, "usage", property(usage)):
        yield


def led(leader: str = "a", follower: str = "b") -> tuple[FakeModel, Follower]:
    first = FakeModel(name=leader, seed=5)
    return first, Follower(name=follower, leader=first)


@pytest.mark.usefixtures("known_pace")
@pytest.mark.parametrize(
    "how", [{}, {"temperature": 1.0}, {"repetition_penalty": 1.3}], ids=["argmax", "sampled", "penalty"]
)
def test_what_was_drafted_needs_no_pass(how: dict[str, Any]) -> None:
    """The slow one has half as many passes, over as many ids; the fast one reads nothing beyond the answer."""
    fast, slow = models = led()
    with closing(ensemble_of(models)) as ensemble:
        plain_steps, plain = decoded(ensemble, speculation="off", **how)
        slow.led = LED
        steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == facts(plain_steps, plain)
    assert plain.members["b"].num_forwards == len(steps)
    assert finished.members["b"].num_forwards <= 0.6 * len(steps)
    assert sum(step.is_drafted for step in steps) >= len(steps) - finished.members["b"].num_forwards
    assert {step.drafted_by for step in steps if step.is_drafted} == {("a",)}
    assert {usage.num_tokens_read for usage in finished.members.values()} == {plain.members["a"].num_tokens_read}
    assert sum(fast.num_read_at_once) == plain.members["a"].num_tokens_read + finished.members["a"].num_tokens_read


@pytest.mark.usefixtures("known_pace")
def test_with_an_eager_gate_the_gate_has_read_on() -> None:
    """Others are asked at every step, and the gate would be asked only when they are done."""
    _, slow = models = led()
    with closing(ensemble_of(models)) as ensemble:
        how = {**EAGER, "threshold": 1.0}
        assert_same(ensemble, **how)
        slow.led = LED
        with counted() as found:
            steps, _ = decoded(ensemble, **how)
    assert len(found) >= 0.8 * len(steps)


@pytest.mark.usefixtures("known_pace")
@pytest.mark.parametrize("policy", ["eager", "auto"])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_whoever_reads_along_drafts_for_a_slower_gate(threshold: float, policy: str) -> None:
    """The gate has fewer passes, whether it is sure of itself or asks."""
    how = {**EAGER, "threshold": threshold, "gate_policy": policy}
    with closing(ensemble_of(twins())) as ensemble:
        expected = facts(*decoded(ensemble, speculation="off", **how))
    fast, gate = led("b", "a")
    gate.beside, gate.led = LED[:1], LED[1:]  # the other one has taken a read before it drafts
    with closing(ensemble_of([gate, fast])) as ensemble:
        steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == expected
    assert finished.members["a"].num_forwards <= 0.7 * len(steps)


@pytest.mark.parametrize(
    ("how", "delays_s", "is_exact"),
    [
        ({"speculation": "off"}, (0, 0.002), True),
        ({"max_new_tokens": 1}, (0, 0.002), True),
        ({}, (0, 0.002), False),
        ({**EAGER, "threshold": 1.0, "gate_policy": "lazy"}, (0, 0.004), False),
        ({}, (0.01, 0.01), True),
    ],
    ids=["off", "one token", "not exact", "lazy gate", "no faster"],
)
@pytest.mark.parametrize("seeds", [(5, 5), (5, 6)], ids=["alike", "unlike"])
def test_nobody_drafts_where_that_may_show_or_cost(
    how: dict[str, Any], delays_s: tuple[float, float], is_exact: bool, seeds: tuple[int, int]
) -> None:
    """Members read what they read without drafts, in the same passes."""
    models = [
        FakeModel(name=name, seed=seed, delay_s=delay_s)
        for name, seed, delay_s in zip("ab", seeds, delays_s, strict=True)
    ]
    with closing(ensemble_of(models)) as ensemble, patch.object(Model, "is_chunk_invariant", is_exact):
        decoded(ensemble, **{**how, "speculation": "off"})
        plain = [model.num_read_at_once.copy() for model in models]
        steps, _ = decoded(ensemble, **how)
    assert [model.num_read_at_once for model in models] == [2 * each for each in plain]
    assert not any(step.is_drafted for step in steps)


@pytest.mark.parametrize("member", [InlineMember, ThreadMember])
@pytest.mark.parametrize("faulty", ["a", "b"])
@pytest.mark.parametrize("from_read", [1, 2, 3, 5])
def test_a_pass_that_fails_ends_the_answer_and_leaves_nothing(from_read: int, faulty: str, member: Any) -> None:
    models = [
        FakeModel(name=name, seed=5, fault=Fault("raise", from_read) if name == faulty else None) for name in "ab"
    ]
    with closing(ensemble_of(models, config_of(["a", "b"]), member)) as ensemble:
        steps, finished = decoded(ensemble)
        assert finished.reason is FinishReason.ERROR
        assert len(steps) <= 2 * from_read  # a draft is a read less
    assert [model.num_held for model in models] == [0, 0]


def test_the_others_go_on_where_the_drafting_member_fails() -> None:
    models = [FakeModel(name="a", seed=5, fault=Fault("raise", 4)), *(FakeModel(name=n, seed=6) for n in "bc")]
    with closing(ensemble_of(models)) as ensemble:
        steps, finished = decoded(ensemble, on_member_failure="drop")
    assert (len(steps), finished.reason) == (24, FinishReason.LENGTH)
    assert [member.member for member in steps[-1].members] == ["b", "c"]


def test_many_answers_share_passes_with_drafts() -> None:
    models = [FakeModel(name="a", seed=1, delay_s=0.001), FakeModel(name="b", seed=2, delay_s=0.004)]
    with closing(ensemble_of(models)) as ensemble:
        expected = facts(*decoded(ensemble, speculation="off"))
        settings = ensemble.config.settings_from(EVERY_STEP)
        sessions = [ensemble.session("ab é", settings, raw=True).events() for _ in range(4)]
        answers: list[list[Any]] = [[] for _ in sessions]
        while sessions_left := [i for i, events in enumerate(sessions) if not answers[i] or answers[i][-1] is not None]:
            for i in sessions_left:
                answers[i].append(next(sessions[i], None))
    for answer in answers:
        *tokens, finished, _ = answer
        assert facts([event.step for event in tokens], finished) == expected
    assert [model.num_held for model in models] == [0, 0]
