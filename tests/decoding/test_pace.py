"""How far is drafted, and whether at all, follows what was measured."""

from __future__ import annotations

import pytest

from gac_app.decoding.speculation.pace import Pace, Rate


def pace_of(draft_s: float, verify_s: dict[int, float]) -> Pace:
    pace = Pace()
    pace.draft.note(draft_s)
    for num_ids, seconds in verify_s.items():
        for _ in range(5):
            pace.note_verifying(num_ids, seconds)
    return pace


def length_of(pace: Pace, acceptance: float) -> int:
    """How long a draft grows whose every token is accepted with this probability."""
    survival, num_settled = 1.0, 1.0
    for length in range(1, 50):
        survival *= acceptance
        num_settled += survival
        if not pace.goes_on(survival, num_settled, 1.0, num_ids=1 + length):
            return length
    return 50


def test_a_rate_is_a_mean_that_forgets() -> None:
    rate = Rate()
    for _ in range(1000):
        rate.note(5.0)
    assert rate.mean == pytest.approx(5.0)
    for _ in range(300):
        rate.note(1.0)
    assert rate.mean == pytest.approx(1.0, abs=0.2)


def test_drafts_are_the_longer_the_likelier_they_are_accepted() -> None:
    lengths = [length_of(pace_of(0.01, {2: 0.05}), acceptance) for acceptance in (0.1, 0.5, 0.8, 0.99)]
    assert lengths == sorted(lengths)
    assert lengths[0] == 1
    assert lengths[-1] > 4


def test_drafts_are_the_longer_the_cheaper_they_are() -> None:
    lengths = [length_of(pace_of(draft_s, {2: 0.1}), 0.8) for draft_s in (0.2, 0.05, 0.005)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_a_draft_ends_before_a_length_that_is_dear() -> None:
    assert length_of(pace_of(0.02, {2: 0.1, 3: 0.1}), 0.95) > 2
    assert length_of(pace_of(0.02, {2: 0.1, 3: 0.1, 4: 0.2}), 0.95) == 2


def test_acceptance_is_learnt_by_confidence() -> None:
    pace = Pace()
    assert pace.acceptance(0.9) > pace.acceptance(0.2)
    for _ in range(200):
        pace.note_draft_token(0.85, is_accepted=False)
    assert pace.acceptance(0.9) < 0.1
    assert pace.acceptance(0.5) == pytest.approx(0.5), "others are as they were"
    assert 0 <= pace.acceptance(1.0) <= 1


def learn(pace: Pace, name: str, seconds: float, agreement: list[bool]) -> None:
    pace.note_plain_pass(name, seconds)
    for is_chosen in agreement:
        pace.note_argmax(name, is_chosen=is_chosen)


def test_of_members_that_agree_alike_the_fastest_drafts() -> None:
    pace = Pace()
    assert pace.best_drafter(["slow", "fast"]) == "slow", "nothing is known yet: the first one"
    learn(pace, "slow", 0.1, [True, True, True, False])
    learn(pace, "fast", 0.02, [True, True, True, False])
    assert pace.best_drafter(["slow", "fast"]) == "fast"
    assert pace.best_drafter(["slow"]) == "slow"


def test_a_fast_member_that_is_never_followed_does_not_draft() -> None:
    pace = Pace()
    learn(pace, "fast", 0.02, [False] * 4)
    learn(pace, "slow", 0.1, [True, True, True, False])
    assert pace.best_drafter(["fast", "slow"]) == "slow"


def decode(pace: Pace, num_tokens: int, plain_s: float, drafted_s: float) -> list[bool]:
    """Whether each token was drafted for."""
    ways = []
    for _ in range(num_tokens):
        ways.append(pace.is_worth_drafting())
        pace.note_step(drafted_s if ways[-1] else plain_s, is_drafting=ways[-1])
    return ways


@pytest.mark.parametrize("is_better", [True, False])
def test_what_is_measured_to_be_faster_is_done(is_better: bool) -> None:
    ways = decode(Pace(), 2000, plain_s=0.2, drafted_s=0.1 if is_better else 0.3)
    assert not any(ways[:4])
    assert all(ways[4:20])
    assert ways[20] is is_better
    assert sum(way is is_better for way in ways) > 0.85 * len(ways)
    assert not all(way is is_better for way in ways[20:]), "the other way is looked at again"


def test_a_change_is_noticed() -> None:
    pace = Pace()
    decode(pace, 400, plain_s=0.2, drafted_s=0.3)
    assert sum(decode(pace, 1500, plain_s=0.2, drafted_s=0.05)) > 1000


def test_old_values_lose_half_their_weight_after_64() -> None:
    rate = Rate()
    for _ in range(64):
        rate.note(1.0)
    assert rate.mean == 1.0
    rate.note(0.0)
    assert rate.mean == 32 / 33


def test_the_best_drafter_worked_by_hand() -> None:
    """Of drafts of two tokens, fast's cost (2 + 10) / 1.75; slow's, of one token, (10 + 2) / 2."""
    pace = Pace()
    learn(pace, "fast", 1.0, [True, False])
    learn(pace, "middling", 2.0, [False])
    learn(pace, "slow", 10.0, [True])
    assert pace.best_drafter(["fast", "middling", "slow"]) == "slow"
    assert pace.best_drafter(["fast", "middling"]) == "fast"
    pace.note_plain_pass("new", 0.1)
    assert pace.best_drafter(["middling", "new"]) == "middling", "nobody has seen what it drafts"


def test_three_passes_of_a_length_are_trusted() -> None:
    pace = Pace()
    assert not pace.goes_on(1.0, 1.0, 1.0, 2), "there is nothing to gain"
    for has_enough in (False, False, True):
        pace.note_verifying(2, 0.1)
        assert pace.goes_on(1.0, 1.0, 1.0, 2) is has_enough


@pytest.mark.parametrize(
    ("drafted_s", "is_better", "num_tried"), [(0.125, True, 4), (0.25, False, 16), (0.5, False, 16)]
)
def test_the_other_way_is_tried_every_128_tokens(drafted_s: float, is_better: bool, num_tried: int) -> None:
    ways = decode(Pace(), 128 + 3 * (num_tried + 128), plain_s=0.25, drafted_s=drafted_s)
    expected = [False] * 4 + [True] * 16 + [is_better] * 108
    assert ways == expected + 3 * ([not is_better] * num_tried + [is_better] * 128)
