"""Simulated judges: visitors of known taste play battles through the service, to try an arena out."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping

from gac_app.arena.outcomes import Outcome
from gac_app.arena.rating.ratings import win_probability
from gac_app.services.battles.arena import ArenaService

_WAIT_S = 60.0


def simulate(
    arena: ArenaService,
    strengths: Mapping[str, float],
    *,
    num_votes: int,
    num_visitors: int,
    on_vote: Callable[[int], None] = lambda _: None,
) -> None:
    """Play battles and vote on each at random, with the odds of the contestants' strengths.

    Args:
        arena: over a throw-away database.
        strengths: Elo of every contestant.
        on_vote: called with the number of votes so far.
    """
    rng = random.Random(1)  # noqa: S311 (chance, not secrecy)
    keys = [secrets.token_hex(32) for _ in range(num_visitors)]
    for number in range(num_votes):
        key = keys[number % num_visitors]
        battle_id = arena.start(key, f"Question {number}").id
        arena.wait(key, battle_id, _WAIT_S)
        left, right = (strengths[name] for name in arena.names_for_judges(key, battle_id))
        outcome = Outcome.LEFT if rng.random() < win_probability(left, right) else Outcome.RIGHT
        arena.vote(key, battle_id, outcome, ballot=0)
        arena.reveal(key, battle_id)
        on_vote(number + 1)
