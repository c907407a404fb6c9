"""Votes are flagged by visitor and by address; none is refused."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from gac_app.arena import moderation
from gac_app.arena.moderation import SAME_PROMPT_ADDRESSES, SAME_PROMPT_VOTES, Cast, Flag, Moderator, surprise
from tests.clocks import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def moderator(clock: HandClock) -> Moderator:
    return Moderator(max_per_hour=2, min_seconds=2.0, clock=clock)


def cast(prompt: str = "x", owner: str = "o", client: str = "", **changes: Any) -> Cast:
    fields: dict[str, Any] = {"pair": ("a", "b"), "left_score": 1.0, "left_odds": 0.5, "seconds": 5.0, **changes}
    return Cast(owner=owner, client=client, prompts=(prompt,), **fields)


def test_odd_votes_of_a_visitor_are_flagged(moderator: Moderator, clock: HandClock) -> None:
    assert moderator.flags(cast()) == []
    assert moderator.flags(cast(seconds=1.0)) == ["fast", "duplicate"]
    assert moderator.flags(cast(pair=("b", "a"))) == ["duplicate"]
    assert moderator.flags(cast(owner="other")) == []
    moderator.undone(cast())
    assert moderator.flags(cast()) == ["duplicate"], "two others stand"
    for number in range(moderation.BURST_VOTES - 4):
        assert moderator.flags(cast(f"{number}")) == []
    assert moderator.flags(cast("eleven")) == ["burst"]
    clock.now += 61
    assert moderator.flags(cast("later")) == []


def test_a_visitor_s_battles_per_hour_are_limited(moderator: Moderator, clock: HandClock) -> None:
    for _ in range(2):
        assert moderator.may_start("o")
        moderator.started("o")
    assert not moderator.may_start("o")
    clock.now += 3600
    assert moderator.may_start("o")


def test_one_prompt_of_many_visitors_behind_one_address(moderator: Moderator, clock: HandClock) -> None:
    def votes(client: str) -> list[list[Flag]]:
        return [moderator.flags(cast(owner=f"{at}", client=client)) for at in range(SAME_PROMPT_VOTES + 1)]

    assert votes("school") == [[]] * SAME_PROMPT_VOTES + [["same-prompt"]]
    assert votes("home") == [["duplicate"]] * SAME_PROMPT_VOTES + [["duplicate", "same-prompt"]]
    assert moderator.flags(cast(owner="7", client="elsewhere")) == []
    clock.now += 25 * 3600
    assert moderator.flags(cast(owner="8", client="school")) == []


def test_one_prompt_from_many_addresses(moderator: Moderator, clock: HandClock) -> None:
    """Whoever knows how a contestant answers it may vote from anywhere, on any pair, and write it differently."""
    spellings = ["Who made you?", "who  made you", "WHO MADE YOU!", "\uff37ho-made-you"]

    def vote(number: int) -> list[Flag]:
        pair = ("a", "b") if number % 2 else ("c", "d")
        return moderator.flags(cast(spellings[number % 4], f"{number}", f"home {number}", pair=pair))

    assert [vote(number) for number in range(SAME_PROMPT_ADDRESSES)] == [[]] * SAME_PROMPT_ADDRESSES
    assert [vote(number) for number in range(10, 13)] == [["same-prompt"]] * 3
    assert moderator.flags(cast("Who made us?", "another", "home 1")) == []
    for number in range(10, 13):
        moderator.undone(cast(spellings[number % 4], f"{number}", f"home {number}"))
    assert moderator.flags(cast("Who made you?", "again", "home 0")) == [], "of an address that is counted already"
    clock.now += 25 * 3600
    assert vote(20) == []


def test_a_burst_of_many_visitors_behind_one_address(moderator: Moderator, clock: HandClock) -> None:
    for at in range(moderation.ADDRESS_BURST_VOTES):
        score = float(at % 2)
        assert moderator.flags(cast(f"{at}", f"{at}", "school", left_score=score)) == []
    assert moderator.flags(cast("late", "late", "school")) == ["burst"]
    assert moderator.flags(cast("late", "l", "home")) == []
    clock.now += 61
    assert moderator.flags(cast("later", "later", "school")) == []


def test_the_bound_by_hand() -> None:
    assert surprise(10, 10, 5) == pytest.approx(10 * math.log(2))  # ten of ten heads: exactly 2^-10
    assert surprise(10, 0, 5) == pytest.approx(10 * math.log(2))
    assert surprise(10, 5, 5) == pytest.approx(0)
    assert surprise(4, 3, 2) == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)))


def test_twenty_votes_for_one_are_more_than_chance(moderator: Moderator) -> None:
    """2^-20 is the first to be less likely than one in a million."""
    found = [moderator.flags(cast(f"{at}", f"{at}", "home")) for at in range(22)]
    assert found == [[]] * 19 + [["agreement"]] * 3
    against = cast("y", "y", "home", left_score=0.0)
    assert moderator.flags(against) == []  # a neighbour of another opinion
    for at in range(4):
        moderator.undone(cast(f"{at}", f"{at}", "home"))
    assert moderator.flags(cast("z", "z", "home")) == []


def test_only_votes_that_go_the_same_way_agree(moderator: Moderator, clock: HandClock) -> None:
    for at in range(60):
        moderator.flags(cast(f"{at}", f"{at}", "home"))
    clock.now += 61
    assert moderator.flags(cast("against", "x", "home", left_score=0.0)) == []
    assert moderator.flags(cast("for", "y", "home")) == ["agreement"]
    assert moderator.flags(cast("tied", "z", "home", left_score=0.5)) == []
    for pair, score in ((("a", "c"), 1.0), (("d", "a"), 0.0)):
        assert moderator.flags(cast("other side", "v", "home", pair=pair, left_score=score)) == ["agreement"]


def test_votes_as_the_ratings_predict_are_no_agreement(moderator: Moderator) -> None:
    """Whom nineteen of twenty prefer elsewhere too may win all of 200 votes."""
    for at in range(200):
        assert "agreement" not in moderator.flags(cast(f"{at}", f"{at}", "home", left_odds=0.95))
    assert surprise(200, 200, 190) < moderation.SURPRISE


def test_chance_hardly_ever_looks_like_agreement() -> None:
    """400 addresses of 50 votes each, at odds of every kind: none is flagged."""
    rng = random.Random(1)
    moderator = Moderator(10, 0.0, clock=lambda: 0.0)
    for address in range(400):
        for at in range(50):
            odds = rng.uniform(0.05, 0.95)
            score = float(rng.random() < odds)
            vote = cast(f"{at}", f"{at}", f"{address}", left_odds=odds, left_score=score)
            assert "agreement" not in moderator.flags(vote)


def test_what_is_taken_back_or_forgotten_leaves_nothing(moderator: Moderator) -> None:
    vote = cast(client="home")
    moderator.flags(vote)
    moderator.undone(vote)
    assert moderator._addresses.of("home").tallies == {"a": (0, 0.0, 0.0), "b": (0, 0.0, 0.0)}
    moderator.forget("o")
    moderator.undone(vote)
    assert moderator.flags(cast(client="other")) == []


def test_of_many_those_used_last_are_remembered(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "_MAX_KEPT", 2)
    recent = moderation._Recent[list[int]](list, clock)
    for key in ("a", "b", "a", "c"):
        recent.of(key).append(1)
    assert [recent.known(key) for key in ("a", "b", "c")] == [[1, 1], None, [1]]
