"""How far is drafted, and whether at all, follows what was measured."""

from __future__ import annotations

import pytest

from gac_app.decoding.speculation.draft_costs import DraftCosts, Rate


def costs_of(draft_s: float, verify_s: dict[int, float]) -> DraftCosts:
    costs = DraftCosts()
    costs.draft.note(draft_s)
    for num_ids, seconds in verify_s.items():
        for _ in range(5):
            costs.note_verifying(num_ids, seconds)
    return costs


def length_of(costs: DraftCosts, acceptance: float) -> int:
    """How long a draft grows whose every token is accepted with this probability."""
    survival, num_settled = 1.0, 1.0
    for length in range(1, 50):
        survival *= acceptance
        num_settled += survival
        if not costs.goes_on(survival, num_settled, 1.0, num_ids=1 + length):
            return length
    return 50


def test_drafts_are_the_longer_the_likelier_they_are_accepted() -> None:
    lengths = [length_of(costs_of(0.01, {2: 0.05}), acceptance) for acceptance in (0.1, 0.5, 0.8, 0.99)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 1
    assert lengths[-1] > 4


def test_a_draft_ends_before_a_length_that_is_dear() -> None:
    assert length_of(costs_of(0.02, {2: 0.1, 3: 0.1}), 0.95) > 2
    assert length_of(costs_of(0.02, {2: 0.1, 3: 0.1, 4: 0.2}), 0.95) == 2


def test_acceptance_is_learnt_by_confidence() -> None:
    costs = DraftCosts()
    assert costs.acceptance(0.9) > costs.acceptance(0.2)
    for _ in range(200):
        costs.note_draft_token(0.85, is_accepted=False)
    assert costs.acceptance(0.9) < 0.1
    assert costs.acceptance(0.5) == pytest.approx(0.5), "others are as they were"
    assert 0 <= costs.acceptance(1.0) <= 1


def learn(costs: DraftCosts, name: str, seconds: float, agreement: list[bool]) -> None:
    costs.note_plain_pass(name, seconds)
    for is_chosen in agreement:
        costs.note_argmax(name, is_chosen=is_chosen)


def decode(costs: DraftCosts, num_tokens: int, plain_s: float, drafted_s: float) -> list[bool]:
    """Whether each token was drafted for."""
    ways = []
    for _ in range(num_tokens):
        ways.append(costs.is_worth_drafting())
        costs.note_step(drafted_s if ways[-1] else plain_s, is_drafting=ways[-1])
    return ways


def test_old_values_lose_half_their_weight_after_64() -> None:
    rate = Rate()
    for _ in range(64):
        rate.note(1.0)
    assert rate.mean == 1.0
    rate.note(0.0)
    assert rate.mean == 32 / 33


def test_the_best_drafter_worked_by_hand() -> None:
    """Of drafts of two tokens, fast's cost (2 + 10) / 1.75; slow's, of one token, (10 + 2) / 2."""
    costs = DraftCosts()
    learn(costs, "fast", 1.0, [True, False])
    learn(costs, "middling", 2.0, [False])
    learn(costs, "slow", 10.0, [True])
    assert costs.best_drafter(["fast", "middling", "slow"]) == "slow"
    assert costs.best_drafter(["middling", "fast"]) == "fast"
    costs.note_plain_pass("new", 0.1)
    assert costs.best_drafter(["middling", "new"]) == "middling", "nobody has seen what it drafts"


def test_three_passes_of_a_length_are_trusted() -> None:
    costs = DraftCosts()
    assert not costs.goes_on(1.0, 1.0, 1.0, 2), "there is nothing to gain"
    for has_enough in (False, False, True):
        costs.note_verifying(2, 0.1)
        assert costs.goes_on(1.0, 1.0, 1.0, 2) is has_enough


@pytest.mark.parametrize(
    ("drafted_s", "is_better", "num_tried"), [(0.125, True, 4), (0.25, False, 16), (0.5, False, 16)]
)
def test_the_other_way_is_tried_every_128_tokens(drafted_s: float, is_better: bool, num_tried: int) -> None:
    ways = decode(DraftCosts(), 128 + 3 * (num_tried + 128), plain_s=0.25, drafted_s=drafted_s)
    expected = [False] * 4 + [True] * 16 + [is_better] * 108
    assert ways == expected + 3 * ([not is_better] * num_tried + [is_better] * 128)
