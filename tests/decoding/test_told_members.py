"""What members choose that tell their likeliest tokens: the same as from whole distributions, with few questions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.decoding.alignment import boundary_conflicts
from gac_app.decoding.distribution import TokenDistribution, partial_distribution
from gac_app.decoding.distribution.partial_distribution import Told
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.members import Members
from gac_app.decoding.loop.session import Branch
from gac_app.decoding.member import InlineMember, Member
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, StepTrace
from gac_app.decoding.view import ViewMember
from gac_app.member_config import MemberConfig
from gac_app.models.base import Model
from gac_app.models.random_model import RandomModel, make_vocabulary
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.answers import EVERY_STEP, LETTERS, decoded
from tests.decoding.toy import ToyModel, toys
from tests.examples import FEW
from tests.fakes import FixedModel, config_of, ensemble_of
from tests.told_member import Teller, ToldMember, told_of

ALL = 1_000_000
SURE = {b"the": 0.9, b"of": 0.06, b"a": 0.04}

HOW = st.fixed_dictionaries(
    {
        "alignment": st.sampled_from(["paper", "prefix"]),
        "mode": st.sampled_from(["every-step", "gate", "agreement"]),
        "threshold": st.floats(0, 1),
        "gate_rule": st.sampled_from(["max-prob", "max-prob", "margin", "entropy"]),
        "weights": st.sampled_from(["average", "average", "posterior", "entropy"]),
        "combine": st.sampled_from(["mean", "mean", "random-member", "geometric"]),
        "temperature": st.sampled_from([0.0, 0.0, 0.2, 0.7, 1.0, 1.5]),
        "top_k": st.sampled_from([0, 0, 1, 3, 40]),
        "top_p": st.sampled_from([1.0, 0.95, 0.6]),
        "min_p": st.sampled_from([0.0, 0.0, 0.05]),
        "repetition_penalty": st.sampled_from([1.0, 1.0, 1.4]),
        "seed": st.integers(0, 1000),
    }
)
# The bounds of a token differ by a rounding error.
NEARLY_EQUAL = {"alignment": "paper", "mode": "every-step", "weights": "posterior", "temperature": 1.5}
NEARLY_EQUAL |= {"top_p": 0.6, "min_p": 0.05, "seed": 57}
WANTED = st.sampled_from([0, 10, 1000])  # single tokens told at once
SIZES = st.lists(st.sampled_from([0, 2, 5, 20]), min_size=2, max_size=3)  # told at first; 0 = a member that runs here


def told(models: list[Model], sizes: list[int], tellers: list[Teller] | None = None) -> Ensemble:
    """Members of which so many tokens are told at first; 0 = they run here."""
    given = iter(zip(sizes, tellers or [Teller() for _ in models], strict=True))

    def member(model: Model, mapping: VocabMapping) -> Member:
        size, teller = next(given)
        told_at_first = min(size, len(model.vocabulary))
        return ToldMember(model, mapping, told_at_first, teller) if size else InlineMember(model, mapping)

    return ensemble_of(models, config_of([model.name for model in models]), member)


def choices(steps: list[StepTrace], finished: FinishedEvent) -> list[Any]:
    return [*((s.token, s.spellings, s.is_partial, s.is_ensembled) for s in steps), finished.reason, finished.detail]


# Of a gate that tells less than this hint wants, the hint is a guess: by it, members put into tokens what they missed.
@patch.object(Members, "tell_likely", lambda *_: None)
def assert_same(models: list[Model], sizes: list[int], wanted: int, how: dict[str, Any]) -> None:
    whole = decoded(told(models, [size and ALL for size in sizes]), **how)
    with patch.object(partial_distribution, "MORE", 30):
        some = decoded(told(models, sizes, [Teller(most_wanted=wanted) for _ in models]), **how)
    assert choices(*some) == choices(*whole)
    assert all(member.missing == 0 for step in some[0] for member in step.members)


@FEW
@given(seeds=st.tuples(*[st.integers(0, 99)] * 3), sharpness=st.floats(1, 8), sizes=SIZES, wanted=WANTED, how=HOW)
@example((2, 10, 0), 5.5, [2, 5], 10, NEARLY_EQUAL)
def test_the_choice_is_that_of_whole_vocabularies(
    seeds: tuple[int, ...], sharpness: float, sizes: list[int], wanted: int, how: dict[str, Any]
) -> None:
    models: list[Model] = [RandomModel(f"m{i}", s, sharpness=sharpness) for i, s in enumerate(seeds[: len(sizes)])]
    assert_same(models, sizes, wanted, how)


@FEW
@given(seed=st.integers(0, 10_000), sizes=SIZES, wanted=WANTED, how=HOW)
@example(638, [5, 0], 0, {"mode": "gate", "threshold": 1 / 3, "weights": "entropy", "temperature": 0.0, "seed": 0})
@example(0, [2, 0, 0], 0, {"mode": "every-step", "weights": "average", "temperature": 0.2, "min_p": 0.05, "seed": 0})
def test_it_is_where_tokens_are_contested(seed: int, sizes: list[int], wanted: int, how: dict[str, Any]) -> None:
    models: list[Model] = [ToyModel(f"m{i}", t) for i, t in enumerate(toys(seed, len(sizes), LETTERS, num_words=30))]
    assert_same(models, sizes, wanted, {**how, "alignment": "prefix", "combine": "mean"})


@FEW
@given(seed=st.integers(0, 10_000), num=st.integers(1, 12), weight=st.floats(0.05, 0.95))
def test_bounds_hold_what_they_bound(seed: int, num: int, weight: float) -> None:
    models = [ToyModel(f"m{i}", toy) for i, toy in enumerate(toys(seed, 2, num_words=12))]
    union = UnionVocabulary.build(model.vocabulary for model in models)
    partial: dict[str, TokenDistribution] = {}
    whole: dict[str, TokenDistribution] = {}
    for model in models:
        mapping, logits_V = VocabMapping(model.vocabulary, union), model.toy.logits_V(b"a")
        exact = whole[model.name] = told_of(logits_V, mapping, len(logits_V), Teller())
        found = partial[model.name] = told_of(logits_V, mapping, num, Teller())
        low_U, high_U = found.bounds_U
        assert bool((low_U <= exact.probs_U + 1e-6).all() and (exact.probs_U <= high_U + 1e-6).all())
        assert bool((found.estimate.probs_U >= 0).all())
        ranges = [union.extensions(token) for token in union.tokens]
        cuts = zip(found.prefix_mass_bounds(ranges), exact.prefix_mass_bounds(ranges), strict=True)
        for (low_B, high_B), (exact_B, _) in cuts:
            assert (low_B - 1e-6 <= exact_B).all()
            assert (exact_B <= high_B + 1e-6).all()
        _, (least_B, most_B) = found.prefix_mass_bounds(ranges)
        assert (most_B <= 1.001 * (least_B + found.unseen_mass)).all(), "no more than all untold tokens have"
    weights = {"m0": weight, "m1": 1 - weight}
    surely, maybe = boundary_conflicts(whole, weights, union), boundary_conflicts(partial, weights, union)
    assert surely is not None
    if maybe is not None:
        ranges_of_all = {one.ids for one in surely}
        assert {one.ids for one in maybe if one.is_sure} <= ranges_of_all <= {one.ids for one in maybe}


@FEW
@given(seed=st.integers(0, 99), num=st.integers(1, 12), keeps_control=st.booleans(), control=st.floats(0, 6))
@example(0, 1, False, 2.0)  # it is not told
@example(0, 9, False, 6.0)  # it is, as are both tokens that end an answer
def test_bounds_hold_beside_control_tokens(seed: int, num: int, keeps_control: bool, control: float) -> None:
    vocabulary = replace(make_vocabulary(seed), end_ids=frozenset({0, 256}))
    union = UnionVocabulary.build([vocabulary])
    mapping = VocabMapping(vocabulary, union, keeps_control=keeps_control)
    logits_V = RandomModel("m", seed, vocabulary=vocabulary)._logits_V([1, 2])
    logits_V[[0, 256, 257]] = control
    low_U, high_U = (found := told_of(logits_V, mapping, num, Teller())).bounds_U
    exact_U = mapping.project(logits_V.unsqueeze(0))[0]
    assert bool((low_U <= exact_U + 1e-6).all() and (exact_U <= high_U + 1e-6).all())
    assert float(exact_U[low_U == 0].sum()) <= found.unseen_mass + 1e-6


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.9, "min_p": 0.05}])
def test_a_sure_choice_takes_one_question_a_step(how: dict[str, Any]) -> None:
    tellers = [Teller(), Teller()]
    models: list[Model] = [FixedModel("a", SURE), FixedModel("b", {b"the": 0.8, b"of": 0.2})]
    steps, _ = decoded(told(models, [3, 3], tellers), max_new_tokens=5, **how)
    assert [len(teller.asked) for teller in tellers] == [5, 5]
    assert {member.num_told for step in steps for member in step.members} == {3}


@pytest.mark.parametrize("seed", range(4))
def test_a_gate_that_told_nearly_all_is_sampled_from(seed: int) -> None:
    """Rounded, what it told may exceed 1."""
    models: list[Model] = [RandomModel("a", seed), RandomModel("b", seed + 1)]
    num = len(models[0].vocabulary) - 1
    steps, _ = decoded(told(models, [num, num]), temperature=0.7, top_p=0.9, max_new_tokens=8, seed=seed)
    assert steps
    assert all(step.gate_choice is not None for step in steps)


def test_a_close_call_is_asked_again_in_two_steps() -> None:
    teller = Teller()
    models: list[Model] = [FixedModel("a", SURE), FixedModel("b", {b"the": 0.1, b"of": 0.2, b"a": 0.7})]
    size = len(models[1].vocabulary)
    ensemble, how = told(models, [0, 1], [Teller(), teller]), {"alignment": "paper", "max_new_tokens": 1}
    with patch.object(partial_distribution, "MORE", 2):
        steps, _ = decoded(ensemble, weights={"a": 1.0, "b": 5.0}, **how)
        assert (steps[0].token, teller.asked) == (b"a", [1])
        teller.asked.clear()
        steps, _ = decoded(ensemble, weights={"a": 0.448, "b": 0.552}, **how)
    assert (steps[0].token, teller.asked, steps[0].members[1].num_told) == (b"the", [1, 2, size], size)


def test_a_long_answer_is_not_gone_through_for_each_token() -> None:
    """Of a large vocabulary that took seconds."""
    num_reads = []

    class Ids(list[int]):
        def __iter__(self) -> Iterator[int]:
            num_reads.append(1)
            return super().__iter__()

    class All(Teller):
        def tell(self, logprobs_V: torch.Tensor, num: int) -> Told:
            ids, *others = super().tell(logprobs_V, num)
            return Ids(ids), *others

    model = RandomModel("m", 1)
    mapping = VocabMapping(model.vocabulary, UnionVocabulary.build([model.vocabulary]))
    distribution = told_of(model._logits_V([1, 2]), mapping, 20, All())
    num_reads.clear()
    assert (bool(distribution.probs_U.any()), len(num_reads) < 20) == (True, True)


@pytest.mark.parametrize("how", [{}, {"mode": "gate"}, {"speculation": "on"}, {"mode": "gate", "speculation": "on"}])
def test_only_the_tokens_in_doubt_are_asked_about(how: dict[str, Any]) -> None:
    teller = Teller(most=2, most_wanted=9)  # of "the" and the control token
    likely = {"a": {b"the": 0.9, b"of": 0.06, b"an": 0.04}, "b": {b"the": 0.1, b"of": 0.2, b"an": 0.7}}
    ensemble = told([FixedModel(*one) for one in likely.items()], [0, 2], [Teller(), teller])
    how = {"gate": "b", "threshold": 0.9, "weights": {"a": 0.44, "b": 0.56}, "max_new_tokens": 12, **how}
    steps, _ = decoded(ensemble, alignment="paper", **how)
    assert {(step.token, step.members[0].num_told) for step in steps} == {(b"the", 4)}
    assert set(teller.asked) == {2, -2}


@pytest.mark.parametrize("alone", [None, "b"])
def test_a_limit_leaves_a_guess_that_is_marked(alone: str | None) -> None:
    teller = Teller(most=1)
    models: list[Model] = [FixedModel("a", SURE), FixedModel("b", {b"of": 0.5, b"the": 0.3, b"a": 0.2})]
    steps, finished = decoded(told(models, [0, 1], [Teller(), teller]), alone=alone, max_new_tokens=2)
    assert finished.reason is FinishReason.LENGTH
    *others, member = steps[0].members
    assert (member.missing, member.num_told) == (pytest.approx(0.5, abs=1e-4), 1)
    assert [other.missing for other in others] == [0.0] * (not alone)
    assert teller.asked == [1, len(models[1].vocabulary)] * 2


@pytest.mark.parametrize("policy", ["stop", "drop"])
@pytest.mark.parametrize(("branch", "rule"), [(None, "mean"), (Branch(token=b"the"), "geometric")])
def test_a_second_question_may_fail(branch: Branch | None, rule: str, policy: str) -> None:
    teller = Teller(num_answered=0)
    models: list[Model] = [FixedModel("a", SURE), FixedModel("b", {b"of": 0.5, b"the": 0.3, b"a": 0.2})]
    how = {"combine": rule, "max_new_tokens": 2, "on_member_failure": policy, "reproducible": "on"}
    steps, finished = decoded(told(models, [0, 1], [Teller(), teller]), branch, **how)
    assert not finished.is_reproducible
    if policy == "stop":
        assert (finished.reason, finished.detail) == (FinishReason.ERROR, "b: planned")
    else:
        assert [(step.token, step.dropped) for step in steps] == [(b"the", ("b",))] * 2


def test_a_question_about_what_a_schema_allows_may_fail() -> None:
    """It is asked of a member that agreed and takes no part; the step that is made again writes its token once."""
    models: list[Model] = [FixedModel("a", {b"1": 0.9, b"2": 0.1}), FixedModel("b", {b"1": 0.6, b"2": 0.4})]
    ensemble = told(models, [0, 2], [Teller(), Teller(num_answered=0)])
    how = {"mode": "agreement", "json_schema": {"enum": [11]}, "max_new_tokens": 2, "on_member_failure": "drop"}
    steps, _ = decoded(ensemble, **how)
    assert [(step.token, step.dropped) for step in steps] == [(b"1", ("b",))] * 2


def test_whichever_question_fails_no_token_is_lost() -> None:
    """Some are asked as a token is fed, after others have read it."""
    models: list[Model] = [ToyModel(f"m{i}", toy) for i, toy in enumerate(toys(2, 2, LETTERS, num_words=30))]
    for num_answered in range(20):
        ensemble = told(models, [0, 2], [Teller(), Teller(most_wanted=1000, num_answered=num_answered)])
        settings = ensemble.config.settings_from({**EVERY_STEP, "on_member_failure": "drop"})
        session = ensemble.session("ab é", settings, raw=True)
        *_, finished = session.events()
        assert isinstance(finished, FinishedEvent)
        assert finished.text == session.contexts["m0"].text.written.decode(errors="replace")


@pytest.mark.parametrize("names", [("a", "v"), ("a", "b", "v"), ("a", "v", "b")])
def test_a_view_whose_server_fails_is_dropped_itself(names: tuple[str, ...]) -> None:
    models: list[Model] = [FixedModel("a", SURE), FixedModel("b", {b"of": 0.5, b"the": 0.3, b"a": 0.2})]
    members = told(models, [0, 1], [Teller(), Teller(num_answered=0)]).members
    members["v"] = ViewMember(members["b"], MemberConfig(name="v", source="random:0"))
    ensemble = Ensemble([members[name] for name in names], config_of(names))
    steps, _ = decoded(ensemble, max_new_tokens=2, on_member_failure="drop")
    assert [(step.token, sorted(step.dropped)) for step in steps] == [(b"the", sorted(names[1:]))] * 2
