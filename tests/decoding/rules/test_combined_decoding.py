"""Rules at work: every shipped one with drafts, gate, sampling and three members; none but the mean is linear, so that
alignment has to come first.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment import boundary_conflicts
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.rules.combiner import Combiner
from gac_app.decoding.rules.shipped.averaging import Geometric
from gac_app.decoding.rules.weights import StepWeights
from gac_app.decoding.trace.events import TokenEvent
from gac_app.errors import RequestError
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.conftest import make
from tests.decoding.toy import Toy, drawing, toy_ensemble, toys

LEAST = 1e-30


# --- alignment first: against brute force


def geometric(members: list[Toy], weights: list[float], text: bytes, union: UnionVocabulary) -> dict[bytes, float]:
    """The geometric mean of what the members expect after `text`, their tokens brought together before: with
    dictionaries, in float64."""
    expected = [toy.probs(text) for toy in members]
    names = [str(index) for index in range(len(members))]
    probs_MU = torch.tensor([[probs.get(token, 0.0) for token in tokens_of(union)] for probs in expected])
    known = {name: TokenDistribution(probs_U) for name, probs_U in zip(names, probs_MU, strict=True)}
    ranges = [one.ids for one in boundary_conflicts(known, dict(zip(names, weights, strict=True)), union) or ()]
    product: dict[bytes, float] = {}
    for index, token in enumerate(tokens_of(union)):
        ids = next((ids for ids in ranges if index in ids), range(index, index + 1))
        if index != ids.start:
            continue  # goes to a contested token
        begun = [sum(probs.get(tokens_of(union)[i], 0.0) for i in ids) for probs in expected]
        product[token] = math.prod(max(prob, LEAST) ** weight for prob, weight in zip(begun, weights, strict=True))
    return {token: value / sum(product.values()) for token, value in product.items()}


def tokens_of(union: UnionVocabulary) -> list[bytes]:
    return [union.token(token_id) for token_id in range(len(union))]


@given(seed=st.integers(0, 500), num=st.integers(2, 3), share=st.sampled_from([0.5, 0.8]))
def test_geometric_under_prefix_equals_brute_force(seed: int, num: int, share: float) -> None:
    members = toys(seed, num, (b"a", b"b", b"c"), num_words=6)
    ensemble = toy_ensemble(members)
    union, text = ensemble.union, b"ab"
    weights = [share, *[(1 - share) / (num - 1)] * (num - 1)]
    given_weights = StepWeights(dict(zip(ensemble.members, weights, strict=True)))
    session = drawing(ensemble, "ab", Combiner(Geometric()), given_weights, seed)
    is_shared, num_compared = True, 0  # all members are at the end of a token of theirs
    for _ in range(8):
        view = session.look()
        if is_shared:
            wanted = geometric(members, weights, text, union)
            found = view.mixture.probs_U.tolist()
            assert found == pytest.approx([wanted.get(t, 0.0) for t in tokens_of(union)], abs=1e-5)
            num_compared += 1
        step = session.feed(view)
        text, is_shared = text + step.token, not step.is_partial
    assert num_compared


# --- scoring


def score(ensemble: Ensemble, text: str, **how: Any) -> float:
    settings = ensemble.config.settings_from({"mode": "every-step", **how})
    return ensemble.score("ba", [text], settings, raw=True)[0].log_prob


@pytest.mark.parametrize("alignment", ["paper", "prefix"])
def test_a_text_is_scored_by_the_rule_chosen(alignment: str) -> None:
    """Members of one alphabet, so that there is one way to cut the text: the chain rule by hand."""
    members = toys(3, 2, num_words=0)
    ensemble = toy_ensemble(members, alignment=alignment)
    total = 0.0
    for length in range(4):
        text, piece = b"ba" + b"abba"[:length], b"abba"[length : length + 1]
        probs = [toy.probs(text) for toy in members]
        products = {token: (probs[0][token] * probs[1][token]) ** 0.5 for token in probs[0]}
        total += math.log(products[piece] / sum(products.values()))
    assert score(ensemble, "abba", combine="geometric") == pytest.approx(total, rel=1e-4)
    assert score(ensemble, "abba", combine="power", combine_params={"exponent": 0}) == pytest.approx(total, rel=1e-4)
    assert score(ensemble, "abba") != pytest.approx(total, rel=1e-3)


def test_a_text_is_scored_with_weights_that_look() -> None:
    members = toys(3, 2, num_words=0)
    entropies = [-sum(p * math.log(p) for p in toy.probs(b"ba").values()) for toy in members]
    raw = [math.exp(-entropy) for entropy in entropies]
    mixed = sum(w * toy.probs(b"ba")[b"a"] for w, toy in zip(raw, members, strict=True)) / sum(raw)
    assert score(toy_ensemble(members), "a", weights="entropy") == pytest.approx(math.log(mixed), rel=1e-4)


def test_other_rules_score_anew_and_the_same_ones_do_not() -> None:
    ensemble, fresh = toy_ensemble(toys(1, 2)), toy_ensemble(toys(1, 2))
    for how in ({"combine": "geometric"}, {"combine": "core"}, {"weights": {"m0": 3, "m1": 1}, "combine": "geometric"}):
        assert score(ensemble, "abba", **how) == score(fresh, "abba", **how) == score(ensemble, "abba", **how)


@pytest.mark.parametrize("name", ["unite", "contrastive"])
def test_a_rule_that_rules_texts_out_scores_none(name: str) -> None:
    ensemble = make(1, 2)
    settings = ensemble.config.settings_from({"combine": name})
    with pytest.raises(RequestError, match=f"combine: by '{name}'"):
        ensemble.score("the", [" model"], settings, raw=True)
    assert ensemble.score("the", [" model"], settings, alone="m1", raw=True)


# --- UniTE


@pytest.mark.parametrize("mode", ["every-step", "gate", "agreement"])
def test_an_ensemble_unites_likely_tokens(mode: str) -> None:
    ensemble = make(1, 2, sharpness=4.0)
    settings = ensemble.config.settings_from(
        {"alignment": "paper", "combine": "unite", "combine_params": {"top_k": 3}, "mode": mode, "threshold": 0.9}
    )
    *tokens, _ = ensemble.generate("the", settings, raw=True)
    ensembled = [event.step for event in tokens if isinstance(event, TokenEvent) and event.step.is_ensembled]
    assert ensembled
    for step in ensembled:
        wanted = {candidate.token_id for member in step.members for candidate in member.top[:3]}
        assert step.token_id in wanted
        assert sum(candidate.prob for candidate in step.top) == pytest.approx(1, abs=1e-4)


# --- what goes wrong


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"combine": "best"}, "combine"),
        ({"combine": "power", "combine_params": {"exponent": "much"}}, "combine_params.exponent"),
        ({"combine": "power", "combine_params": {"exponents": 1}}, "combine_params.exponents"),
        ({"gate_rule": "luck"}, "gate_rule"),
        ({"weights": "best"}, "weights"),
        ({"weights": "posterior", "weight_params": {"decay": 0}}, "weight_params.decay"),
    ],
)
def test_what_there_is_not_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    ensemble = make(1, 2)
    with pytest.raises(RequestError) as caught:
        ensemble.session("the", ensemble.config.settings_from(changes))
    assert caught.value.field == field
