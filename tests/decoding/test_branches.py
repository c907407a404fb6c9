"""What continues an answer goes on as that answer did: the same members' contexts, random numbers and penalties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace
from gac_app.decoding.trace.serialise import step_from_json, step_to_json
from tests.decoding.answers import LETTERS, decoded, facts
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, FixedModel, ensemble_of

HOW = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["every-step", "gate", "agreement"]),
        "threshold": st.sampled_from([0.2, 0.4]),
        "gate_policy": st.sampled_from(["lazy", "eager", "auto"]),
        "alignment": st.sampled_from(["paper", "prefix"]),
        "temperature": st.sampled_from([0.0, 0.7, 1.5]),
        "repetition_penalty": st.sampled_from([1.0, 1.2]),
        "seed": st.integers(0, 2**63 - 1),
        "speculation": st.sampled_from(["off", "on"]),
    }
)


def stored(steps: list[StepTrace]) -> tuple[StepTrace, ...]:
    return tuple(step_from_json(step_to_json(step)) for step in steps)


def assert_goes_on(ensemble: Ensemble, num_replayed: int, *, is_forced: bool, how: dict[str, Any]) -> None:
    whole, end = decoded(ensemble, **how)
    num_replayed = min(num_replayed, len(whole) - 1)
    token = whole[num_replayed].token if is_forced else None
    steps, again = decoded(ensemble, Branch(stored(whole[:num_replayed]), token), **how)
    assert facts(steps[num_replayed:], again) == facts(whole[num_replayed:], end)
    assert [step.spellings for step in steps] == [step.spellings for step in whole]


@settings(max_examples=2 * settings().max_examples)
@given(seeds=st.lists(st.integers(0, 50), min_size=2, max_size=3, unique=True), are_toys=st.booleans(),
       num=st.integers(1, 20), is_forced=st.booleans(), how=HOW)  # fmt: skip
def test_an_extended_answer_equals_the_uninterrupted_one(
    seeds: list[int], are_toys: bool, num: int, is_forced: bool, how: dict[str, Any]
) -> None:
    """Also where members cut inside each other's tokens."""
    ensemble = toy_ensemble(toys(seeds[0], len(seeds), LETTERS)) if are_toys else make(*seeds)
    assert_goes_on(ensemble, num, is_forced=is_forced and not are_toys, how=how)


@given(seed=st.integers(0, 200), threshold=st.sampled_from([0.3, 0.5, 0.7]))
@example(109, 0.3)
def test_members_read_a_replayed_answer_whatever_the_gate_says(seed: int, threshold: float) -> None:
    """The gate's model may have changed since."""
    how = {"mode": "gate", "threshold": threshold, "temperature": 1.0, "max_new_tokens": 40}
    members = toys(seed, 2, LETTERS)
    steps, _ = decoded(toy_ensemble(members), **how)
    text = b"".join(step.token for step in steps[:-1])
    ensemble = toy_ensemble([replace(members[0], seed=-1), members[1]])
    branch = Branch(tuple(steps[:-1]))
    session = ensemble.session("ab é", ensemble.config.settings_from(how), raw=True, branch=branch)
    list(session.events())
    assert all(context.text.written.startswith(text) for context in session.contexts.values())


@given(seed=st.integers(0, 200), how=HOW, filters=st.sampled_from([{}, {"top_k": 2}, {"top_p": 0.6}, {"min_p": 0.3}]))
def test_the_gates_choice_is_what_it_writes_alone(seed: int, how: dict[str, Any], filters: dict[str, Any]) -> None:
    """Members that read each token at once: inside a token of its own, a gate alone would read on differently."""
    ensemble, how = toy_ensemble(toys(seed, 2, LETTERS)), {**how, **filters, "alignment": "paper"}
    whole, _ = decoded(ensemble, **how)
    assert all((step.gate_choice is not None) == step.is_ensembled for step in whole)
    for at, step in enumerate(whole):
        if step.is_ensembled:
            alone = {**how, "mode": "gate", "threshold": 0.0, "max_new_tokens": at + 1}
            assert decoded(ensemble, Branch(stored(whole[:at])), **alone)[0][at].token == step.gate_choice


def test_a_branch_to_a_merged_token_goes_on_with_its_weights() -> None:
    """The trace and the posterior have the token's own probability, not what merging leaves of it."""
    models = [FixedModel("a", {b" and": 0.9, b"e": 0.1}), FixedModel("b", {b" ": 0.2, b" and": 0.1, b"e": 0.7})]
    ensemble, how = ensemble_of(models, member=InlineMember), {"weights": "posterior"}
    steps, _ = decoded(ensemble, Branch(token=b" and"), **how)
    assert [member.prob for member in steps[0].members] == pytest.approx([0.9, 0.1])
    assert [member.rank for member in steps[0].members] == [1, 3]
    again, _ = decoded(ensemble, Branch(stored(steps[:2])), **how)
    weights, weights_again = ([step.members[0].weight for step in found] for found in (steps, again))
    assert weights_again == pytest.approx(weights, abs=1e-4)


def test_a_replayed_step_keeps_the_ids_of_its_own_union() -> None:
    """Its candidates have them too; another member's tokens come before them in today's union."""
    others = [], [FixedModel("b", {b"\0": 1.0})]
    before, after = (ensemble_of([FakeModel("a", 1), *more], member=InlineMember) for more in others)
    steps, _ = decoded(before, max_new_tokens=4)
    again, _ = decoded(after, Branch(stored(steps)), max_new_tokens=4)
    assert after.union.ids[steps[0].token] != steps[0].token_id
    assert [(step.token_id, step.top) for step in again] == [(step.token_id, step.top) for step in stored(steps)]


def test_members_that_cut_alike_read_a_replayed_answer_at_once() -> None:
    models = [FixedModel(name, {b" the": 0.5, b"e": 0.3, b"t": 0.2}) for name in "ab"]
    ensemble = ensemble_of(models, member=InlineMember)
    how = {"alignment": "prefix", "temperature": 1.0, "speculation": "off"}
    steps, _ = decoded(ensemble, **how)
    _, again = decoded(ensemble, Branch(tuple(steps[:20])), **how)
    assert again.num_decoded == 4
    assert {usage.num_forwards for usage in again.members.values()} == {4}


@pytest.mark.parametrize("seed", [0, 5, 8])
def test_a_replay_asks_only_where_the_answer_did(seed: int) -> None:
    """Others that were not asked do not know how they cut the text; that must not matter."""
    ensemble = toy_ensemble(toys(seed, 2, LETTERS))
    how = {"mode": "gate", "threshold": 0.3, "alignment": "prefix", "temperature": 1.0, "speculation": "off"}
    steps, _ = decoded(ensemble, **how)
    _, again = decoded(ensemble, Branch(tuple(steps[:18])), **how)
    assert next(iter(again.members.values())).num_forwards - again.num_decoded < 10


def test_a_replayed_answer_ends_where_its_settings_say() -> None:
    ensemble = make(1, 2)
    steps, end = decoded(ensemble, max_new_tokens=10)
    for how in ({"max_new_tokens": 4}, {"max_new_tokens": 10, "stop": (end.text[4:7],)}):
        _, fresh = decoded(ensemble, **how)
        replayed, again = decoded(ensemble, Branch(tuple(steps)), **how)
        assert (again.text, again.reason, len(replayed)) == (fresh.text, fresh.reason, fresh.num_tokens)


def test_speed_is_of_tokens_decoded_by_hand() -> None:
    end = FinishedEvent(FinishReason.LENGTH, "", 20, 0, ttft_s=1.0, seconds=4.0, members={}, num_replayed=13)
    assert (end.num_decoded, end.tokens_per_s) == (7, 2.0)
    assert replace(end, num_replayed=20).tokens_per_s == 0
