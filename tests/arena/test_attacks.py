"""Patient attacks on a leaderboard: by how many Elo points addresses that know the rule move a contestant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest

from gac_app.arena.rating.ratings import rate, win_probability
from gac_app.arena.rating.votes import VoteFilter
from tests.arena.samples import AT, Row, row, votes_of

TASTE = {"a": 1000.0, "b": 940.0, "c": 1080.0, "d": 1060.0}
NAMES, TARGET, RIVAL = sorted(TASTE), "b", "a"
DAYS = 30


@dataclass
class Crowd:
    """Votes of visitors, by their tastes or for a target."""

    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.rows: list[Row] = []
        self._num_visitors = 0

    def visitors(self, num: int, num_votes: int, days: Sequence[int]) -> None:
        """Honest ones, each from an address of its own, each vote on one of the days."""
        for _ in range(num):
            key = self.key()
            for _ in range(num_votes):
                self.vote(key, f"home {key}", int(self.rng.choice(days)))

    def key(self) -> int:
        self._num_visitors += 1
        return self._num_visitors

    def vote(self, key: int, address: str, day: int, winner: str = "", pair: tuple[str, str] | None = None) -> None:
        """A vote for `winner`, or by taste, on a pair or on any."""
        left, right = pair or tuple(self.rng.permutation(NAMES)[:2])
        if winner and winner not in (left, right):
            left = winner
        is_left = self.rng.random() < win_probability(TASTE[left], TASTE[right])
        outcome = ("left" if is_left else "right") if not winner else "left" if winner == left else "right"
        at = AT + timedelta(days=day)
        self.rows.append(row(str(left), str(right), outcome, key, client=address, voted_s=at.timestamp()))

    def elo(self) -> float:
        votes = votes_of(self.rows, NAMES).filtered(VoteFilter())
        return float(rate(votes.wins_CC())[NAMES.index(TARGET)])


def for_target(crowd: Crowd, key: int, address: str, day: int) -> None:
    crowd.vote(key, address, day, TARGET)


def against_rival(crowd: Crowd, key: int, address: str, day: int) -> None:
    """The target's only strong rival loses to anybody else."""
    crowd.vote(key, address, day, str(crowd.rng.choice([name for name in NAMES if name != RIVAL])), None)


def beside_honest_ones(crowd: Crowd, key: int, address: str, day: int) -> None:
    """With honest votes on pairs without the target."""
    crowd.vote(key, address, day, TARGET)
    crowd.vote(key, address, day, pair=("c", "d"))


Voting = Callable[[Crowd, int, str, int], None]
ATTACKS: dict[str, tuple[int, int, int, Sequence[int], Voting]] = {  # addresses, keys of each, votes of each key, days
    "five addresses, two keys with 17 votes in one day": (5, 2, 8, [3], for_target),
    "five addresses, two keys with 17 votes in a month": (5, 2, 8, range(DAYS), for_target),
    "five addresses, 25 keys with 5 votes": (5, 25, 5, range(DAYS), for_target),
    "five addresses, 100 keys with a vote": (5, 100, 1, range(DAYS), for_target),
    "five addresses, with honest votes on other pairs": (5, 2, 17, range(DAYS), beside_honest_ones),
    "five addresses, against a rival": (5, 2, 17, range(DAYS), against_rival),
    "one address in 30 days": (1, 30, 17, range(DAYS), for_target),
    "one address in 30 days, with honest votes": (1, 30, 17, range(DAYS), beside_honest_ones),
}


def moved(attack: str, honest_days: Sequence[int], seed: int) -> float:
    """By how many points the attack moves the target."""
    num_addresses, num_keys, num_votes, days, vote = ATTACKS[attack]
    crowd = Crowd(np.random.default_rng(seed))
    crowd.visitors(60, 8, honest_days)
    crowd.visitors(400, 1, honest_days)
    before = crowd.elo()
    for address in range(num_addresses):
        for _ in range(num_keys):
            key = crowd.key()
            for _ in range(num_votes):
                vote(crowd, key, f"attacker {address}", int(crowd.rng.choice(days)))
    return crowd.elo() - before


@pytest.mark.parametrize("honest_days", [range(DAYS), [0]], ids=["in a month", "in a day"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_patient_attack_moves_little(attack: str, honest_days: Sequence[int]) -> None:
    found = max(moved(attack, honest_days, seed) for seed in range(3))
    print(f"\n{attack}: {found:+.1f} Elo")
    assert found <= (15 if attack.startswith("five") else 25)
