"""What members count: fixed weights forget at shared boundaries, posterior ones remember the text."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gac_app.decoding.rules.shipped.weights import Posterior
from gac_app.decoding.rules.weights import StepWeights
from tests.decoding.answers import decoded
from tests.decoding.toy import toy_ensemble, toys

GIVEN = {"a": 0.25, "b": 0.75}
LEAST = 1e-6  # a member is ruled out by no piece


def learn(weights: StepWeights, probs: dict[str, float], *, is_shared: bool) -> None:
    weights.note({name: math.log(max(prob, 1e-30)) for name, prob in probs.items()}, is_shared=is_shared)


def test_texts_do_not_share_their_evidence() -> None:
    weights = StepWeights(GIVEN)
    learn(weights.restarted(), {"a": 0.6, "b": 0.1}, is_shared=False)
    assert weights.restarted().of(["a", "b"]) == GIVEN


def test_long_texts_underflow_nowhere() -> None:
    weights = StepWeights(GIVEN, Posterior())
    for _ in range(5000):
        learn(weights, {"a": 1e-4, "b": 1e-5}, is_shared=True)
    assert weights.of(["a", "b"]) == {"a": pytest.approx(1), "b": pytest.approx(0)}
    assert weights.of(["b"]) == {"b": 1}, "alone it carries everything, however badly it did"


def test_a_member_without_weight_gets_none_by_evidence() -> None:
    weights = StepWeights({"a": 0.0, "b": 0.5, "c": 0.5}, Posterior())
    for _ in range(100):
        learn(weights, {"a": 1.0, "b": 1e-4, "c": 1e-5}, is_shared=True)
    assert weights.of(["a", "b", "c"]) == {"a": 0, "b": pytest.approx(1), "c": pytest.approx(0)}


def test_members_whose_weights_are_all_zero_count_the_same() -> None:
    assert StepWeights({"a": 0.0, "b": 0.0, "c": 1.0}).of(["a", "b"]) == {"a": 0.5, "b": 0.5}


@given(
    seed=st.integers(0, 200),
    num=st.integers(2, 4),
    decay=st.sampled_from([1.0, 0.8]),
    alignment=st.sampled_from(["paper", "prefix"]),
    threshold=st.sampled_from([1.01, 0.4]),
)
def test_a_trace_shows_the_posterior_of_its_probabilities(
    seed: int, num: int, decay: float, alignment: str, threshold: float
) -> None:
    how: dict[str, Any] = {"weights": "posterior", "weight_params": {"decay": decay}, "alignment": alignment}
    evidence = dict.fromkeys((f"m{i}" for i in range(num)), 0.0)
    ensemble = toy_ensemble(toys(seed, num))
    how |= {"mode": "gate", "threshold": threshold}
    for step in decoded(ensemble, prompt="ab", **how, temperature=1.0, seed=seed, max_new_tokens=12)[0]:
        if not step.is_ensembled:
            continue
        raw = {name: math.exp(log_prob - max(evidence.values())) for name, log_prob in evidence.items()}
        wanted = {name: value / sum(raw.values()) for name, value in raw.items()}
        assert {m.member: m.weight for m in step.members} == pytest.approx(wanted, abs=1e-6)
        if step.is_partial:
            break  # a member inside a token of its own is judged by all that begins with these bytes
        least = LEAST * max(m.prob for m in step.members)
        for m in step.members:
            evidence[m.member] = evidence[m.member] * decay + math.log(max(m.prob, least))


@given(seed=st.integers(0, 200), num=st.integers(2, 4))
def test_at_boundaries_that_all_share_the_given_weights_count(seed: int, num: int) -> None:
    ensemble = toy_ensemble(toys(seed, num), weights={"m0": 1, "m1": 3})
    weights = ensemble.config.weights(ensemble.config.settings)
    given_weights = {name: weight for name, weight in weights.items() if weight}  # the others take no part
    is_shared = True
    for step in decoded(ensemble, prompt="ab", temperature=1.0, seed=seed, alignment="prefix")[0]:
        if is_shared:
            assert {m.member: m.weight for m in step.members} == pytest.approx(given_weights)
        is_shared = not step.is_partial


@given(
    seed=st.integers(0, 500),
    text=st.text("ab", min_size=1, max_size=12),
    alignment=st.sampled_from(["paper", "prefix"]),
)
def test_the_posterior_costs_a_bit_more_than_the_better_at_most(seed: int, text: str, alignment: str) -> None:
    """The chain rule of a mixture: its probability of the text is the weighted mean of the members'."""
    members = toys(seed, 2, num_words=0)
    steps = [toy.probs(b"ab" + text[:i].encode())[text[i].encode()] for toy in members for i in range(len(text))]
    assume(min(steps) > LEAST)
    ensemble = toy_ensemble(members, weights="posterior", alignment=alignment)
    (mixed,) = ensemble.score("ab", [text], raw=True)
    (first,), (second,) = (ensemble.score("ab", [text], alone=name, raw=True) for name in ("m0", "m1"))
    probs = [math.exp(score.log_prob) for score in (first, second)]
    assert math.exp(mixed.log_prob) == pytest.approx(sum(probs) / 2, rel=1e-4)
    bits = [-score.log_prob / math.log(2) for score in (mixed, first, second)]
    assert bits[0] <= min(bits[1:]) + 1 + 1e-4
