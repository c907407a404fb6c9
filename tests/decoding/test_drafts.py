"""Drafts, and members that read along, change which pass reads what, and nothing else: every step is what it is without
them, to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules import CombineRule, combine_rules
from gac_app.decoding.speculation import DraftCosts, speculator, when_to_draft
from gac_app.decoding.trace.events import StepTrace, TokenEvent
from gac_app.models.base import Model
from gac_app.models.pass_costs import PassCosts
from gac_app.models.sequence import ForwardRequest
from gac_app.settings import Settings
from tests.decoding.answers import EVERY_STEP, LETTERS, decoded, facts, twins
from tests.decoding.conftest import make
from tests.decoding.toy import model_of, toy_ensemble, toys
from tests.fakes import WAIT_S, FakeModel, Fault, ensemble_of
from tests.models import tiny
from tests.models.conftest import load_directory

LED = range(len("ab é") + 1, len("ab é") + 23)
EAGER: dict[str, Any] = {"mode": "gate", "threshold": 0.5, "gate_policy": "eager", "max_new_tokens": 24}
IN_TURN: dict[str, Any] = {"speculation": "on", "max_new_tokens": 20}


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
            (speculator, "_MUCH_FASTER", 0.0),
            (speculator, "pays", lambda *_: draws.random() < 0.8),
            (PassCosts, "seconds", lambda *_: draws.random()),
            (DraftCosts, "is_measured", True),
            (DraftCosts, "is_worth_drafting", lambda _: draws.random() < 0.8),
            (InlineMember, "is_free_for", lambda *_: draws.random() < 0.7),
        ):
            patched.enter_context(patch.object(place, name, value))
        assert_same(ensemble, **how)
    assert not any(model_of(ensemble, name)._num_cached for name in ensemble.members), "sequences are freed"


@pytest.mark.slow
@pytest.mark.parametrize("how", [EVERY_STEP, IN_TURN, EAGER], ids=["step", "turn", "eager"])
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


class NeedsThree(CombineRule):
    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        first, second, third = probs_MU
        return first + second + third


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_rule_that_fails_on_a_draft_ends_no_answer(alignment: str) -> None:
    """Only some members' distributions are known where a draft is lengthened."""
    combine_rules.register("needs-three", "Three", "Fails on fewer members.")(NeedsThree)
    try:
        assert_same(make(1, 2, 3), combine="needs-three", alignment=alignment, **IN_TURN)
    finally:
        del combine_rules["needs-three"]


# --- when


@pytest.mark.parametrize(
    ("how", "is_invariant", "is_consistent", "is_apart", "expected"),
    [
        ({}, True, True, True, "overlapped"),
        ({}, False, False, True, "overlapped"),
        ({}, False, True, True, "in turn"),
        ({}, True, True, False, "in turn"),
        ({}, False, False, False, "never"),
        ({"alignment": "paper"}, False, True, True, "in turn"),
        ({"alignment": "paper"}, False, False, True, "never"),
        ({"alignment": "paper", "speculation": "on"}, False, False, True, "in turn"),
        ({"speculation": "off"}, True, True, True, "never"),
        (EAGER, True, True, True, "overlapped"),
        ({**EAGER, "speculation": "on"}, True, True, True, "never"),
        ({**EAGER, "gate_policy": "lazy"}, True, True, True, "in turn"),
        ({**EAGER, "gate_policy": "lazy"}, False, False, True, "never"),
    ],
)
def test_drafts_are_made_where_the_text_stays_the_same(
    how: dict[str, Any], is_invariant: bool, is_consistent: bool, is_apart: bool, expected: str
) -> None:
    """One member that reads several ids otherwise forbids drafts."""
    members, settings = list(make(1, 2).members.values()), Settings(**{**EVERY_STEP, **how})
    when = partial(when_to_draft, settings=settings, devices_disjoint=is_apart)
    consistent = patch.object(members[0].model, "is_chunk_consistent", is_consistent)
    with patch.multiple(Model, is_chunk_invariant=is_invariant, is_chunk_consistent=True), consistent:
        found, fixed = (when(members, is_reproducible=is_fixed) for is_fixed in (False, True))
        alone = when(members[:1], is_reproducible=False)
        views = when([members[0]] * 2, is_reproducible=False)
    assert (found, alone) == (expected, "never")
    assert fixed != "in turn" or is_invariant, "in turn, passes of several ids would show"
    assert views != "in turn" or "speculation" in how, "of one model, no draft costs less than what it saves"


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
    """A follower is slower, whatever a busy machine makes of the times."""
    with patch.object(speculator, "_pass_s", lambda of, _=1: 1.0 if isinstance(of.member.model, Follower) else 0.1):
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


# --- in turn: what it saves


def alike(*seeds: int) -> Ensemble:
    models = [FakeModel(name, seed) for name, seed in zip("abc", seeds, strict=False)]
    return ensemble_of(models, member=InlineMember)


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_passes_are_saved_where_members_agree(alignment: str) -> None:
    """The second answer starts from what the first has learnt. Each id of the answer is read for a step."""
    ensemble, how = alike(7, 7, 7), {**IN_TURN, "alignment": alignment}
    decoded(ensemble, **how)
    steps = assert_same(ensemble, **how)
    _, end = decoded(ensemble, **how)
    assert sum(step.is_drafted for step in steps) > 12
    assert min(usage.num_forwards for usage in end.members.values()) < 0.7 * len(steps)
    assert max(usage.num_forwards for usage in end.members.values()) <= len(steps) + 1
    num_read = sum(member.num_read for step in steps for member in step.members if member.member == "b")
    spelt = [ensemble.members["b"].mapping.feed(step.token_id) for step in steps[:-1]]
    assert num_read == len(ensemble.members["b"].encode("ab é")) + sum(map(len, spelt))


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_gates_helpers_read_several_unsure_places_in_one_pass(alignment: str) -> None:
    ensemble = alike(7, 7, 7)
    how = {**IN_TURN, "mode": "gate", "threshold": 0.9, "max_new_tokens": 40, "alignment": alignment}
    _, plain = decoded(ensemble, **{**how, "speculation": "off"})
    assert_same(ensemble, **how)
    _, end = decoded(ensemble, **how)
    assert 0 < end.members["b"].num_forwards < plain.members["b"].num_forwards


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_step_is_plain_only_where_all_are_read_for_it(alignment: str) -> None:
    """However often the pace changes its mind: what was read ahead for a step makes it a drafted one."""
    minds, were_drafted = Random(3), []

    def note(_: DraftCosts, seconds: float, *, is_drafting: bool) -> None:
        were_drafted.append(is_drafting)

    with patch.multiple(DraftCosts, note_step=note, is_measured=property(lambda _: minds.random() < 0.5)):
        steps, _ = decoded(alike(7, 7, 8), **{**IN_TURN, "alignment": alignment, "max_new_tokens": 200})
    steps = steps[-len(were_drafted) :]
    plain = [step for step, was_drafted in zip(steps, were_drafted, strict=True) if not was_drafted]
    assert 20 < len(plain) < len(steps) - 20
    assert all(member.num_read for step in plain for member in step.members)


@pytest.fixture
def always_two() -> Iterator[None]:
    """The first member drafts two tokens, and then the others verify."""
    with (
        patch.object(speculator, "pays", lambda now_s, longer_s, survival, num_settled, draft_s: num_settled < 3),
        patch.multiple(DraftCosts, acceptance=lambda *_: 1.0, is_measured=True),
        patch.object(PassCosts, "seconds", lambda *_: 1.0),
    ):
        yield


@pytest.mark.usefixtures("always_two")
def test_nothing_is_left_of_a_rejected_draft() -> None:
    """A rest of it would keep the next draft from being made, and the verifying member would read single tokens."""
    ensemble = alike(7, 8)
    how = {**EVERY_STEP, **IN_TURN, "alignment": "paper", "max_new_tokens": 60}
    session, num_drafted = ensemble.session("ab é", ensemble.config.settings_from(how), raw=True), 0
    for event in session.events():
        num_drafted += isinstance(event, TokenEvent) and event.step.is_drafted
        left = len(session._speculator._draft)
        assert all(len(context.draft) == left for context in session.contexts.values())
    assert 5 < num_drafted < 50, "some are rejected"
    verifying = ensemble.members["b"].model
    assert isinstance(verifying, FakeModel)
    assert min(verifying.num_read_at_once[:-3]) > 1, "a draft is in every pass, but near the end"


@pytest.mark.usefixtures("always_two")
def test_the_bonus_token_saves_the_drafting_member_a_pass() -> None:
    steps, end = decoded(alike(7, 7), **{**IN_TURN, "max_new_tokens": 60})
    assert end.members["a"].num_forwards < 0.8 * len(steps)


def test_passes_are_timed_by_the_ids_that_they_compute() -> None:
    """A prompt's pass, which gives logits after its last id alone, says nothing of a draft's."""
    ensemble = alike(7, 7)
    costs = ensemble.members["b"].model.costs
    for _ in range(2):
        decoded(ensemble, speculation="off")
    assert [num_ids for num_ids in range(1, 9) if costs.seconds(num_ids)] == [1]
    decoded(ensemble, **IN_TURN)
    assert costs.seconds(2)
    fixed = alike(7, 7)
    for _ in range(2):
        decoded(fixed, **IN_TURN, reproducible="on")
    assert not fixed.members["b"].model.costs.seconds(2), "in fixed chunks these were passes over one id each"


# --- failures


class FailsOnDraft(FakeModel):
    """Breaks in every pass that would read several ids at once, once it has its prompt."""

    num_failed = 0

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        if any(request.sequence.ids and request.num_logits > 1 for request in requests):
            self.num_failed += 1
            raise RuntimeError("planned")
        return super().read(requests)


@pytest.mark.parametrize("failure", ["stop", "drop"])
@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_pass_that_fails_on_a_draft_is_made_again_without_it(failure: str, alignment: str) -> None:
    models = [FakeModel("a", seed=7), fails := FailsOnDraft("b", seed=7), FakeModel("c", seed=8)]
    ensemble = ensemble_of(models, member=InlineMember)
    steps = assert_same(ensemble, on_member_failure=failure, alignment=alignment, **IN_TURN)
    assert fails.num_failed
    assert all(len(step.members) == 3 for step in steps)


@pytest.mark.usefixtures("always_two")
def test_who_fails_without_its_draft_too_is_dropped_once() -> None:
    models = [FakeModel("a", seed=7, fault=Fault("raise", marker=b"sentence")), FakeModel("b", seed=8)]
    steps = assert_same(ensemble_of(models, member=InlineMember), on_member_failure="drop", **IN_TURN)
    assert {step.dropped for step in steps} == {(), ("a",)}


# --- transformers


def test_only_float32_is_read_exactly_enough(tmp_path: Path) -> None:
    folder = tiny.save_llama(tmp_path)
    assert [load_directory(folder, dtype=dtype).is_chunk_consistent for dtype in ("auto", "bfloat16")] == [True, False]
