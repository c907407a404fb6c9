"""Drafts, and members that read along, change which pass reads what, and nothing else: every step is what it is without
them, to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.speculation import draft_costs, drafts_tokens, speculator
from gac_app.decoding.trace.events import StepTrace
from gac_app.models.base import Model
from gac_app.models.pass_costs import PassCosts
from gac_app.models.sequence import ForwardRequest
from gac_app.settings import Settings
from tests.decoding.answers import EVERY_STEP, LETTERS, decoded, facts, twins
from tests.decoding.conftest import make
from tests.decoding.toy import model_of, toy_ensemble, toys
from tests.fakes import WAIT_S, FakeModel, Fault, Parrot, ensemble_of

LED = range(len("ab é") + 1, len("ab é") + 23)
EAGER: dict[str, Any] = {"mode": "gate", "threshold": 0.5, "gate_policy": "eager", "max_new_tokens": 24}
ON: dict[str, Any] = {"speculation": "on", "max_new_tokens": 20}


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """Back ends in whose answers no cut into passes shows."""
    with patch.object(Model, "is_chunk_invariant", True):
        yield


def assert_same(ensemble: Ensemble, **how: Any) -> list[StepTrace]:
    """The steps with drafts, which are plain decoding's."""
    plain, plain_end = decoded(ensemble, **{**how, "speculation": "off", "gate_policy": "lazy"})
    steps, end = decoded(ensemble, **how)
    assert facts(steps, end) == facts(plain, plain_end)
    assert [(step.is_ensembled, step.dropped) for step in steps] == [(s.is_ensembled, s.dropped) for s in plain]
    assert end.digest == plain_end.digest
    assert not any(step.is_drafted or step.drafted_by is not None for step in plain)
    return steps


# --- the law

HOW = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["every-step", "gate", "gate", "agreement"]),
        "threshold": st.floats(0.1, 0.9),
        "gate_policy": st.sampled_from(["lazy", "eager", "auto"]),
        "alignment": st.sampled_from(["prefix", "prefix", "paper"]),
        "speculation": st.sampled_from(["on", "auto", "auto", "off"]),
        "weights": st.sampled_from(["average", "posterior"]),
        "combine": st.sampled_from(["mean", "mean", "geometric"]),
        "temperature": st.sampled_from([0.0, 0.8, 1.2]),
        "top_p": st.sampled_from([1.0, 0.9]),
        "min_p": st.sampled_from([0.0, 0.02]),
        "repetition_penalty": st.sampled_from([1.0, 1.4]),
        "seed": st.integers(0, 9),
        "stop": st.sampled_from([(), (), ("a",), ("b a",)]),
        "max_new_tokens": st.integers(1, 40),
        "on_member_failure": st.sampled_from(["stop", "drop"]),
    }
)


@pytest.mark.slow
@settings(max_examples=4 * settings().max_examples)
@given(
    seed=st.integers(0, 1000),
    num=st.integers(2, 4),
    num_words=st.sampled_from([3, 8]),
    context_length=st.sampled_from([4096, 4096, 12, 26, 40]),
    marker=st.sampled_from([None, None, b"ba", b"aab"]),
    how=HOW,
)
def test_every_step_is_what_it_is_without(
    seed: int, num: int, num_words: int, context_length: int, marker: bytes | None, how: dict[str, Any]
) -> None:
    """Of members that cut at every place otherwise, whoever seems to be fast, whatever seems to pay, and whether others
    use them. Where a pass fails, it fails without drafts too, or is made again without them.
    """
    draws = Random(seed)
    ensemble = toy_ensemble(toys(seed, num, LETTERS, num_words), context_length)
    model_of(ensemble, f"m{seed % num}").fault = marker and Fault("raise", marker=marker)
    with ExitStack() as patched:
        for place, name, value in (
            (speculator, "_MUCH_FASTER", 1e-9),
            (draft_costs, "pays", lambda *_: draws.random() < 0.8),
            (PassCosts, "seconds", lambda *_: draws.random()),
            (InlineMember, "is_free_for", lambda *_: draws.random() < 0.7),
        ):
            patched.enter_context(patch.object(place, name, value))
        assert_same(ensemble, **how)
    assert not any(model_of(ensemble, name)._num_cached for name in ensemble.members), "sequences are freed"


@pytest.mark.slow
@pytest.mark.parametrize("how", [EVERY_STEP, ON, EAGER], ids=["step", "on", "eager"])
@pytest.mark.parametrize("delays_ms", [(0, 1, 2), (5, 12, 12)], ids=str)  # ahead in time, and reading as a step begins
def test_so_it_is_in_threads_and_beside_others(delays_ms: tuple[int, ...], how: dict[str, Any]) -> None:
    models = [FakeModel(name=name, seed=i, delay_s=delays_ms[i] / 1000) for i, name in enumerate("abc")]
    with closing(ensemble_of(models)) as ensemble:
        expected = facts(*decoded(ensemble, **{**how, "speculation": "off", "gate_policy": "lazy"}))
        assert facts(*decoded(ensemble, **how)) == expected
        checked = ensemble.config.settings_from({**EVERY_STEP, **how})
        left = {i: ensemble.session("ab é", checked, raw=True).events() for i in range(3)}
        answers: dict[int, list[Any]] = {i: [] for i in left}
        while left:
            for i, events in list(left.items()):
                answers[i] += [event] if (event := next(events, None)) else left.pop(i) and []
    for *tokens, finished in answers.values():
        assert facts([event.step for event in tokens], finished) == expected
    assert [model.num_held for model in models] == [0, 0, 0]


# --- when


@pytest.mark.parametrize(
    ("how", "apart", "shared"),
    [
        ({}, True, False),
        ({"speculation": "on"}, True, True),
        ({"speculation": "off"}, False, False),
        ({"alignment": "paper", "speculation": "on"}, False, False),
        (EAGER, True, False),
        ({**EAGER, "gate_policy": "lazy", "speculation": "on"}, False, False),
    ],
)
def test_drafts_are_made_where_a_member_is_idle(how: dict[str, Any], apart: bool, shared: bool) -> None:
    members, settings = list(make(1, 2).members.values()), Settings(**{**EVERY_STEP, **how})
    assert [drafts_tokens(members, settings, devices_disjoint=is_apart) for is_apart in (True, False)] == [
        apart,
        shared,
    ]
    assert not drafts_tokens(members[:1], settings, devices_disjoint=True), "nobody verifies"


@pytest.mark.parametrize("how", [{"max_new_tokens": 1}, {}], ids=["one token", "no faster"])
def test_no_draft_is_read_where_it_cannot_pay(how: dict[str, Any]) -> None:
    """Members read what they read without drafts, in the same passes."""
    models = twins()
    with closing(ensemble_of(models)) as ensemble, patch.object(speculator, "_pass_s", lambda *_: 1.0):
        decoded(ensemble, **{**how, "speculation": "off"})
        plain = [model.num_read_at_once.copy() for model in models]
        decoded(ensemble, **how)
    assert [model.num_read_at_once for model in models] == [2 * each for each in plain]


# --- overlapped: what it saves


@dataclass
class Follower(FakeModel):
    """Has its leader's taste, and takes longer: until that one has read further than this pass does. At the first pass,
    whose time tells that it is the faster one, and at the last it will not.
    """

    seed: int = 5
    leader: FakeModel = field(default_factory=FakeModel)
    led: range = range(0)  # the lengths of context at which the leader will
    beside: range = range(0)  # those at which it will have read as far

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        until, num_ids = time.monotonic() + WAIT_S, max(len(request.ids) for request in requests)
        while self.leader.most_read < num_ids + (num_ids in self.led) and num_ids in (*self.led, *self.beside):
            assert time.monotonic() < until, "the leader does not read on"
            time.sleep(0.0005)
        return super().read(requests)


@pytest.fixture
def known_pace() -> Iterator[None]:
    """Who is to verify drafts is slower, whatever a busy machine makes of the times."""
    slow = Follower | FailsOnDraft
    with patch.object(speculator, "_pass_s", lambda of, _=1: 1.0 if isinstance(of.member.model, slow) else 0.1):
        yield


def led(leader: str = "a", follower: str = "b") -> tuple[FakeModel, Follower]:
    first = FakeModel(name=leader, seed=5)
    return first, Follower(name=follower, leader=first)


@pytest.mark.usefixtures("known_pace")
@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}], ids=["argmax", "sampled"])
def test_what_was_drafted_needs_no_pass(how: dict[str, Any]) -> None:
    """The slow one has about half as many passes, over as many ids; the fast one reads nothing beyond the answer."""
    fast, slow = models = led()
    with closing(ensemble_of(models)) as ensemble:
        plain_steps, plain = decoded(ensemble, speculation="off", **how)
        slow.led = LED
        steps, finished = decoded(ensemble, **how)
    assert facts(steps, finished) == facts(plain_steps, plain)
    assert plain.members["b"].num_forwards == len(steps)
    assert finished.members["b"].num_forwards <= 0.7 * len(steps)
    assert sum(step.is_drafted for step in steps) >= len(steps) - finished.members["b"].num_forwards
    assert {step.drafted_by for step in steps if step.is_drafted} == {("a",)}
    assert {usage.num_tokens_read for usage in finished.members.values()} == {plain.members["a"].num_tokens_read}
    assert sum(fast.num_read_at_once) == plain.members["a"].num_tokens_read + finished.members["a"].num_tokens_read


@pytest.mark.usefixtures("known_pace")
@pytest.mark.parametrize("policy", ["eager", "auto"])
@pytest.mark.parametrize("threshold", [0.0, 1.0])
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


def test_the_pass_of_a_prompt_tells_nothing_of_a_drafts() -> None:
    """It gives logits after its last id alone."""
    models = [FakeModel(name, 7) for name in "ab"]
    ensemble = ensemble_of(models, member=InlineMember)
    for _ in range(2):
        decoded(ensemble, speculation="off")
    assert [num_ids for num_ids in range(1, 9) if models[1].costs.seconds(num_ids)] == [1]


# --- failures


class FailsOnDraft(Parrot):
    """Breaks in every pass that would read several ids at once, once it has its prompt."""

    num_failed = 0

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        if any(request.sequence.ids and request.num_logits > 1 for request in requests):
            self.num_failed += 1
            raise RuntimeError("planned")
        return super().read(requests)


@pytest.mark.usefixtures("known_pace")
@pytest.mark.parametrize("failure", ["stop", "drop"])
def test_a_pass_that_fails_on_a_draft_is_made_again_without_it(failure: str) -> None:
    models = [Parrot("a", seed=5), fails := FailsOnDraft("b", seed=5), FailsOnDraft("c", seed=5)]
    with (
        closing(ensemble_of(models)) as ensemble,
        patch.object(speculator, "best_length", lambda confidences, _: len(confidences)),
    ):
        steps = assert_same(ensemble, on_member_failure=failure, max_new_tokens=100)
    assert fails.num_failed
    assert all(len(step.members) == 3 for step in steps)
