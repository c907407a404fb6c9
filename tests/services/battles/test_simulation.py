"""Simulated judges vote with the odds of the contestants' strengths, and reveal each battle."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.simulation import simulate


def test_each_visitor_plays_in_turn_and_votes_by_strength() -> None:
    calls: list[tuple[Any, ...]] = []

    def start(key: str, prompt: str) -> Any:
        calls.append(("start", key, prompt))
        return SimpleNamespace(id=f"battle of {prompt}")

    def note(name: str) -> Any:
        return lambda *args, **more: calls.append((name, *args, *more.values()))

    arena = SimpleNamespace(
        start=start,
        wait=note("wait"),
        vote=note("vote"),
        reveal=note("reveal"),
        names_for_judges=lambda *_: ("strong", "weak"),
    )
    told: list[int] = []
    strengths = {"strong": 1100.0, "weak": 1000.0}
    simulate(cast("ArenaService", arena), strengths, num_votes=30, num_visitors=2, on_vote=told.append)
    rng, odds = random.Random(1), 1 / (1 + 10 ** (-100 / 400))
    expected: list[tuple[Any, ...]] = []
    keys = [call[1] for call in calls if call[0] == "start"]
    for number, key in enumerate(keys):
        battle = f"battle of Question {number}"
        outcome = "left" if rng.random() < odds else "right"
        expected += [
            ("start", key, f"Question {number}"),
            ("wait", key, battle, 60.0),
            ("vote", key, battle, outcome, 0),
            ("reveal", key, battle),
        ]
    assert calls == expected
    assert keys == keys[:2] * 15
    assert len(set(keys)) == 2
    assert told == list(range(1, 31))
