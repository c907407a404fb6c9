"""How far is drafted, and whether at all, follows what was measured."""

from __future__ import annotations

from functools import partial

import pytest

from gac_app.decoding.speculation.draft_costs import DraftCosts, best_length, pays
from gac_app.decoding.speculation.speculator import _slowest_s
from gac_app.models.pass_costs import PassCosts
from tests.decoding.conftest import make


@pytest.mark.parametrize(("survival", "does_pay"), [(0.1, False), (0.24, False), (0.26, True), (0.99, True)])
def test_a_longer_draft_pays_if_it_is_likely_enough(survival: float, does_pay: bool) -> None:
    """Of 60 ms for two places, a third saves 30 ms; without it the drafting pass of 10 ms is lost."""
    assert pays(0.06, 0.06, survival, 2.0, draft_s=0.01) is does_pay


@pytest.mark.parametrize(
    ("seconds", "confidences", "expected"),
    [
        ({}, [1.0], 0),
        ({1: 50.0}, [0.9, 0.9], 1),
        ({1: 50.0, 2: 55.0}, [0.9, 0.9, 0.9], 2),
        ({1: 50.0, 2: 55.0, 3: 75.0}, [0.9, 0.9], 2),
        ({1: 50.0, 2: 55.0, 3: 100.0}, [0.9, 0.9], 1),
        ({1: 50.0, 2: 55.0}, [0.09], 0),
        ({1: 50.0, 2: 55.0}, [0.11], 1),
        ({1: 50.0, 2: 110.0}, [0.99], 0),
    ],
)
def test_a_text_drafts_the_length_that_pays(seconds: dict[int, float], confidences: list[float], expected: int) -> None:
    """Of 50 a token alone; 55 / 1.9, then 75 / 2.71 or 100 / 2.71. A length that is not known is tried, one by one."""
    ensemble = make(1, 2)
    contexts = list(ensemble.session("the", ensemble.config.settings, raw=True).contexts.values())
    for num_ids, each in seconds.items():
        for _ in range(2):
            contexts[1].member.model.costs.note(num_ids, each)
    assert best_length(confidences, partial(_slowest_s, contexts)) == expected


def test_acceptance_is_learnt_by_confidence() -> None:
    costs = DraftCosts()
    assert costs.acceptance(0.9) > costs.acceptance(0.2)
    for _ in range(200):
        costs.note_draft_token(0.85, is_accepted=False)
    assert costs.acceptance(0.9) < 0.1
    assert costs.acceptance(0.5) == pytest.approx(0.5), "others are as they were"
    assert 0 <= costs.acceptance(1.0) <= 1


def test_the_fastest_pass_of_a_size_counts_once_two_are_known() -> None:
    """Other load only slows passes down."""
    costs = PassCosts()
    costs.note(2, 26)
    assert costs.seconds(2) == 0
    for seconds in (25, 1000):
        costs.note(2, seconds)
        assert costs.seconds(2) == 25
    assert costs.gain(2, 2) == 0, "nothing is known of single ids"


@pytest.mark.parametrize(
    ("drafted_s", "is_better", "num_tried"), [(0.125, True, 4), (0.25, False, 16), (0.5, False, 16)]
)
def test_the_other_way_is_tried_every_128_tokens(drafted_s: float, is_better: bool, num_tried: int) -> None:
    costs, ways = DraftCosts(), list[bool]()  # whether each token was drafted for
    for _ in range(128 + 3 * (num_tried + 128)):
        ways.append(costs.is_worth_drafting())
        costs.note_step(drafted_s if ways[-1] else 0.25, is_drafting=ways[-1])
    expected = [False] * 4 + [True] * 16 + [is_better] * 108
    assert ways == expected + 3 * ([not is_better] * num_tried + [is_better] * 128)


def test_without_a_gate_the_fastest_member_drafts() -> None:
    ensemble = make(1, 2, 3)
    session = ensemble.session("the", ensemble.config.settings_from({"mode": "every-step"}), raw=True)
    for name, seconds in {"m1": 2.0, "m2": 1.0}.items():
        for _ in range(2):
            session.contexts[name].member.model.costs.note(1, seconds)
    assert session._speculator._drafting.name == "m2", "and nothing is known of the third"
