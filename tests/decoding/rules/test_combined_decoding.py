"""Rules at work: every shipped one with drafts, gate, sampling and three members; none but the mean is linear, so that
alignment has to come first.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import RequestError
from tests.decoding.conftest import make
from tests.decoding.toy import toy_ensemble, toys

# --- alignment first: against brute force


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
