"""Every weight rule against an example worked by hand; what members count: fixed weights forget at shared boundaries,
posterior ones remember the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.member import InlineMember
from gac_app.decoding.rules import WeightInputs, WeightRule
from gac_app.decoding.rules.shipped.weights import Average, Entropy, Posterior, PromptPerplexity
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import RuleError
from gac_app.models.random_model import RandomModel, make_vocabulary
from gac_app.models.sequence import ForwardRequest
from tests.decoding.answers import decoded
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys
from tests.fakes import FakeModel, Fault, config_of, ensemble_of, steps_and_end

PRIOR = {"a": 0.25, "b": 0.75}
ALIGNMENTS = st.sampled_from(["paper", "prefix"])


def test_entropy_by_hand() -> None:
    """Entropies of ln 2 and ln 4, so that the weights of equals are as 1/2 and 1/4."""
    sure, less, least = (TokenDistribution(torch.tensor([1 / num] * num)) for num in (2, 4, 8))

    def weights(rule: Entropy, a: TokenDistribution, b: TokenDistribution) -> dict[str, float]:
        return StepWeights({"a": 0.5, "b": 0.5}, rule).of(["a", "b"], {"a": a, "b": b}.__getitem__)

    assert weights(Entropy(), sure, less) == pytest.approx({"a": 2 / 3, "b": 1 / 3})
    assert weights(Entropy(temperature=0.5), sure, less) == pytest.approx({"a": 4 / 5, "b": 1 / 5})
    sharpest = weights(Entropy(temperature=0.0011), less, least)
    assert sharpest == pytest.approx({"a": 1, "b": 0}), "also where exp(-H / t) of both is no float"


def test_prompt_perplexity_by_hand() -> None:
    """A bit per byte between them, ln 2 nats: at temperature 1 one counts twice as much."""
    inputs = WeightInputs({"a": 1, "b": 1}, prompt_bits={"a": 1.5, "b": 2.5})
    assert PromptPerplexity(temperature=1)(inputs) == pytest.approx({"a": 1, "b": 0.5})


def test_the_prompt_is_read_once_and_only_where_it_counts() -> None:
    asked = []

    def read_prompt(name: str) -> float:
        asked.append(name)
        return 1.0

    weights = StepWeights(PRIOR, PromptPerplexity(), read_prompt)
    assert weights.of(["a"]) == {"a": 1.0}
    assert not asked
    assert weights.of(["a", "b"]) == weights.of(["a", "b"]) == PRIOR
    StepWeights(PRIOR, Average(), read_prompt).of(["a", "b"])
    assert asked == ["a", "b"]


def test_the_better_reader_of_the_prompt_counts_more() -> None:
    ensemble = make(1, 2, mode="every-step", weights="prompt-perplexity", weight_params={"temperature": 0.5})
    prompt = "the vote of one model is not the answer"
    bits = {name: ensemble.score("", [prompt], alone=name, raw=True)[0].bits_per_byte for name in ensemble.members}
    raw = {name: math.exp(-value * math.log(2) / 0.5) for name, value in bits.items()}
    [step, *_], _ = steps_and_end(ensemble.generate(prompt, raw=True))
    weights = {member.member: member.weight for member in step.members}
    assert weights == pytest.approx({name: value / sum(raw.values()) for name, value in raw.items()}, rel=1e-4)


def test_a_prompt_weighs_members_without_tokens_for_all_of_it() -> None:
    whole = make_vocabulary(0)
    encode = whole.encode
    tokens = tuple(None if token == b"\x13" else token for token in whole.token_bytes)
    lacking = replace(whole, token_bytes=tokens, encode=lambda text: encode(text.replace("\x13", "")))
    models = [RandomModel(f"m{seed}", seed, vocabulary=v) for seed, v in enumerate([whole, lacking])]
    ensemble = ensemble_of(models, config_of(["m0", "m1"], {"mode": "every-step", "weights": "prompt-perplexity"}))
    with closing(ensemble):
        [step, *_], _ = steps_and_end(ensemble.generate("the vote \x13 of one", raw=True))
    assert all(0.1 < member.weight < 0.9 for member in step.members), "what one of them lacks says nothing"
    assert ensemble._read_texts._reads == {}, "nothing is kept of what a visitor wrote"


def test_a_prompt_read_for_weights_takes_no_more_room() -> None:
    """A run may hold two sequences of each member: the ensemble's, and the member's own."""
    how = {"weights": "prompt-perplexity", "mode": "every-step", "max_new_tokens": 4}
    models = [FakeModel(name, seed, max_sequences=2) for seed, name in enumerate("ab")]
    with closing(ensemble_of(models)) as ensemble:
        alone = [ensemble.generate("the vote", alone=name) for name in "ab"]
        assert all(map(next, alone))
        _, finished = steps_and_end(ensemble.generate("the vote", ensemble.config.settings_from(how)))
        assert (finished.reason, finished.num_tokens) == (FinishReason.LENGTH, 4), finished.detail
        for events in alone:
            events.close()
        for combine in ("mean", "geometric"):
            settings = ensemble.config.settings_from({**how, "combine": combine})
            assert len(ensemble.score("the vote", [" of", " the"], settings)) == 2


class Scored(FakeModel):
    """Stops the answer as soon as its prompt's text is read, which asks for many distributions."""

    stop: Callable[[], None]
    num_passes = 0

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        if requests[0].num_logits > 1:
            self.num_passes += 1
            self.stop()
        return super().read(requests)


def test_a_stopped_answer_reads_no_further_in_its_prompt() -> None:
    models = [Scored(name, seed) for seed, name in enumerate("ab")]
    config = config_of(["a", "b"], {"mode": "every-step", "weights": "prompt-perplexity"})
    ensemble = ensemble_of(models, config, InlineMember)
    session = ensemble.session("the vote of one model " * 50, raw=True)
    for model in models:
        model.stop = session.stop
    _, finished = steps_and_end(session.events())
    assert (finished.reason, [model.num_passes for model in models]) == (FinishReason.ABORT, [1, 0])
    assert [model.num_held for model in models] == [0, 0]


@pytest.mark.parametrize("policy", ["stop", "drop"])
def test_a_member_may_fail_at_the_prompt_that_is_weighed(policy: str) -> None:
    models = [FakeModel("a"), FakeModel("b", fault=Fault("raise")), FakeModel("c", 2)]
    how = {"weights": "prompt-perplexity", "mode": "every-step", "max_new_tokens": 2, "on_member_failure": policy}
    with closing(ensemble_of(models, config_of(list("abc"), how))) as ensemble:
        steps, finished = steps_and_end(ensemble.generate("the vote", raw=True))
    expected = FinishReason.ERROR if policy == "stop" else FinishReason.LENGTH
    assert finished.reason is expected, finished.detail
    assert [step.dropped for step in steps] == ([] if policy == "stop" else [("b",)] * 2)


class Broken(WeightRule):
    def __call__(self, inputs: WeightInputs) -> dict[str, float]:
        return dict.fromkeys(inputs.prior, math.nan)


def test_weights_that_are_none_are_told() -> None:
    with pytest.raises(RuleError, match="not a finite number"):
        StepWeights(PRIOR, Broken()).of(["a", "b"])


class Blind(WeightRule):
    """Forgets to say what it needs."""

    needs: str

    def __call__(self, inputs: WeightInputs) -> dict[str, float]:
        return {name: float(getattr(inputs, self.needs)[name]) for name in inputs.prior}


@pytest.mark.parametrize(("needs", "flag"), [("distributions", "needs_distributions"), ("prompt_bits", "needs_prompt")])
def test_what_a_rule_did_not_ask_for_is_told(needs: str, flag: str) -> None:
    with pytest.raises(RuleError, match=f"only a rule with `{flag} = True` is given this"):
        StepWeights(PRIOR, Blind(needs=needs)).of(["a", "b"])


class Remembers(WeightRule):
    factor: float

    @property
    def memory(self) -> float:
        return 1 / self.factor


@pytest.mark.parametrize(("factor", "told"), [(0.5, "the memory 2.0; expected"), (0, "ZeroDivisionError")])
def test_a_memory_that_is_none_is_told(factor: float, told: str) -> None:
    with pytest.raises(RuleError, match=told):
        StepWeights(PRIOR, Remembers(factor=factor))


LEAST = 1e-6  # a member is ruled out by no piece


def learn(weights: StepWeights, probs: dict[str, float], *, is_shared: bool) -> None:
    weights.note({name: math.log(max(prob, 1e-30)) for name, prob in probs.items()}, is_shared=is_shared)


def test_texts_do_not_share_their_evidence() -> None:
    weights = StepWeights(PRIOR)
    learn(weights.restarted(), {"a": 0.6, "b": 0.1}, is_shared=False)
    assert weights.restarted().of(["a", "b"]) == PRIOR


def test_long_texts_underflow_nowhere() -> None:
    weights = StepWeights(PRIOR, Posterior())
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
    alignment=ALIGNMENTS,
    threshold=st.sampled_from([1.01, 0.4]),
)
def test_a_trace_shows_its_posterior(seed: int, num: int, decay: float, alignment: str, threshold: float) -> None:
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


@given(seed=st.integers(0, 500), text=st.text("ab", min_size=1, max_size=12), alignment=ALIGNMENTS)
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
