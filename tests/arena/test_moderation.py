"""Votes are flagged by visitor and by address; none is refused."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.arena import moderation
from gac_app.arena.moderation import Cast, Moderator
from tests.clocks import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def moderator(clock: HandClock) -> Moderator:
    return Moderator(max_per_hour=2, min_seconds=2.0, clock=clock)


def cast(prompt: str = "x", owner: str = "o", client: str = "", **changes: Any) -> Cast:
    fields: dict[str, Any] = {"pair": ("a", "b"), "seconds": 5.0, **changes}
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


@pytest.mark.parametrize("again", ["who  made you", "WHO MADE YOU!", "\uff37ho-made-you"])
def test_a_prompt_written_differently_is_a_duplicate(moderator: Moderator, again: str) -> None:
    found = [moderator.flags(cast(text)) for text in ("Who made you?", again, "Who made us?")]
    assert found == [[], ["duplicate"], []]


def test_a_visitor_s_battles_per_hour_are_limited(moderator: Moderator, clock: HandClock) -> None:
    for _ in range(2):
        assert moderator.may_start("o")
        moderator.started("o")
    assert not moderator.may_start("o")
    clock.now += 3600
    assert moderator.may_start("o")


def test_a_burst_of_many_visitors_behind_one_address(moderator: Moderator, clock: HandClock) -> None:
    for at in range(moderation.ADDRESS_BURST_VOTES):
        assert moderator.flags(cast(f"{at}", f"{at}", "school")) == []
    assert moderator.flags(cast("late", "late", "school")) == ["burst"]
    assert moderator.flags(cast("late", "l", "home")) == []
    clock.now += 61
    assert moderator.flags(cast("later", "later", "school")) == []


def test_what_is_taken_back_or_forgotten_leaves_nothing(moderator: Moderator) -> None:
    vote = cast(client="home")
    moderator.flags(vote)
    moderator.undone(vote)
    assert moderator.flags(vote) == []
    moderator.forget("o")
    moderator.undone(vote)
    assert moderator.flags(cast(client="other")) == []


def test_of_many_those_used_last_are_remembered(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moderation, "_MAX_KEPT", 2)
    recent = moderation._Recent(clock)
    for key in ("a", "b", "a", "c"):
        recent.of(key).started.append(1.0)
    found = [voter and len(voter.started) for voter in map(recent.known, ("a", "b", "c"))]
    assert found == [2, None, 1]
