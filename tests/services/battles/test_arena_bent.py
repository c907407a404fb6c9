"""One client tries to bend the leaderboard of an arena with honest votes.

`pytest -m long -s tests/services/battles/test_arena_bent.py` prints by how many Elo points the target moves.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from sqlalchemy import select

from gac_app.arena.rating.ratings import win_probability
from gac_app.services.mirror.exports import Exports
from gac_app.services.queue.shares import client_of, use_client_keys
from gac_app.storage.battles.tables import Battle
from tests.fakes import WAIT_S
from tests.services.battles.test_arena import Arena
from tests.services.battles.test_standings import stored_vote
from tests.services.house import House, names_in

TASTE = {"a": 1000.0, "b": 940.0, "every step": 1080.0, "gate": 1060.0}
TARGET = "b"
NUM_OF_ONE = 19  # one more would be flagged


@dataclass
class Crowd:
    """Judges who play battles through the service, of `taste` in Elo. `now`: the moderator's time."""

    arena: Arena
    taste: Mapping[str, float] = field(default_factory=lambda: TASTE)
    now: float = 0.0
    rng: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.arena.service._moderator._clock = lambda: self.now

    def judge(self, key: str, address: str, prompt: str, target: str = "", *, seconds: float = 1.0) -> bool:
        """Play a battle and vote: for the target, which the judge knows somehow, else by `TASTE`. Returns whether a
        vote was cast, `seconds` after the last one.
        """
        service = self.arena.service
        battle_id = service.start(key, prompt, client=client_of(address)).id
        assert service.wait(key, battle_id, WAIT_S)
        names = names_in(service, key, battle_id)
        if target and target not in names:
            service.skip(key, battle_id)
            return False
        outcome = self.prefers(*names)
        if target:
            outcome = "left" if names[0] == target else "right"
        self.now += seconds
        service.judge.vote(key, battle_id, outcome, service.battles.look(key, battle_id).ballot)
        service.judge.reveal(key, battle_id)
        return True

    def at_home(self, num_visitors: int, num_votes: int) -> None:
        """Honest votes that are there already, each visitor's from an address of its own."""
        for _ in range(num_visitors):
            key = secrets.token_hex(32)
            for _ in range(num_votes):
                left, right = self.rng.sample(sorted(TASTE), 2)
                stored_vote(self.arena.store, left, right, self.prefers(left, right), key, client=key[:24])

    def classroom(self, num_visitors: int, num_votes: int, address: str) -> None:
        """Honest visitors behind one address, with a prompt of their own for each vote."""
        for _ in range(num_visitors):
            key = secrets.token_hex(32)
            for number in range(num_votes):
                assert self.judge(key, address, f"Question {number} of {key[:8]}", seconds=2.0)

    def prefers(self, left: str, right: str) -> str:
        return "left" if self.rng.random() < win_probability(self.taste[left], self.taste[right]) else "right"

    def attack(
        self,
        num_votes: int,
        addresses: Iterator[str],
        keys: Iterator[str],
        *,
        is_one_prompt: bool = False,
        seconds: float = 154 / 223,
    ) -> int:
        """Votes for the target, so many seconds apart. Returns how many were cast."""
        num_cast = num_tries = 0
        while num_cast < num_votes and num_tries < 20 * num_votes:
            num_tries += 1
            prompt = "Who are you?" if is_one_prompt else f"Question {num_tries}"
            num_cast += self.judge(next(keys), next(addresses), prompt, TARGET, seconds=seconds)
        return num_cast

    def target(self, *, has_flagged: bool = False) -> float:
        """The target's rating."""
        board = self.arena.service.standings.rated("blind", has_flagged=has_flagged)
        assert not board.problem
        (rating,) = [line.rating for line in board.standings if line.name == TARGET]
        assert rating is not None
        return rating


def fresh_keys() -> Iterator[str]:
    while True:
        yield secrets.token_hex(32)


@pytest.fixture
def arena(house: House) -> Arena:
    settings = {"max_new_tokens": 3}
    return Arena(house, settings=settings, arena={"max_per_hour": 100_000, "min_seconds": 0.0, "min_votes": 5})


def test_an_address_is_one_after_a_restart(house: House) -> None:
    for _ in range(2):
        use_client_keys({})  # as in a process that begins
        arena = Arena(house)
        arena.answered(client=client_of("192.0.2.1"))
    with arena.store.reading() as session:
        names = set(session.scalars(select(Battle.client)))
    assert names == {client_of("192.0.2.1")}
    assert not any(name in line for line in Exports(arena.store).lines() for name in names)


@pytest.mark.slow
def test_votes_through_the_arena_are_rated_by_taste(arena: Arena) -> None:
    crowd = Crowd(arena, {"a": 1400.0, "b": 600.0, "every step": 1000.0, "gate": 1000.0})
    crowd.classroom(8, 5, "10.3.0.1")
    board = arena.service.standings.rated("blind", has_flagged=True)
    assert (board.num_votes, board.num_sessions) == (40, 8)
    assert (board.standings[0].name, board.standings[-1].name) == ("a", "b")


ATTACKS = {  # addresses, battles of each key, of which half have the target, whether all have one prompt
    "one address, a fresh key for each vote, one prompt": (1, 1, True),
    "one address, a fresh key for each vote, many prompts": (1, 1, False),
    "one address, about five votes of each key, many prompts": (1, 10, False),
    "five addresses, a fresh key for each vote": (5, 1, False),
}
SIZES = {"short": (10, 5, 0, 30), "long": (60, 8, 400, 223)}  # visitors, votes of each, more with one, of the attack
CASES = [
    pytest.param(attack, size, marks=[pytest.mark.long] if size == "long" else [], id=f"{attack}, {size}")
    for attack in ATTACKS
    for size in SIZES
    if size == "long" or "five votes" in attack  # what weighs a fresh key less is in tests/arena/test_weights.py
]


@pytest.mark.slow
@pytest.mark.parametrize(("attack", "size"), CASES)
def test_an_address_has_one_vote(arena: Arena, attack: str, size: str) -> None:
    num_addresses, votes_of_key, is_one_prompt = ATTACKS[attack]
    num_visitors, num_each, num_more, num_votes = SIZES[size]
    crowd = Crowd(arena)
    crowd.at_home(num_visitors, num_each)
    crowd.at_home(num_more, 1)
    elo = [crowd.target()]
    one = secrets.token_hex(32)
    assert crowd.attack(NUM_OF_ONE, cycle(["10.9.9.9"]), cycle([one]), seconds=30.0) == NUM_OF_ONE
    elo.append(crowd.target())
    flagged = [crowd.target(has_flagged=True)]
    keys = (key for key in fresh_keys() for _ in range(votes_of_key))
    addresses = cycle([f"10.2.0.{number}" for number in range(num_addresses)])
    assert crowd.attack(num_votes, addresses, keys, is_one_prompt=is_one_prompt) == num_votes
    elo.append(crowd.target())
    flagged.append(crowd.target(has_flagged=True))
    of_one, by_attack = elo[1] - elo[0], elo[2] - elo[1]
    print(
        f"\n{attack}: {num_votes} votes move {TARGET} by {by_attack:+.1f} Elo, with flagged ones by "
        f"{flagged[1] - flagged[0]:+.1f}; {NUM_OF_ONE} votes of one visitor moved it by {of_one:+.1f}"
    )
    assert by_attack <= num_addresses * of_one
    assert by_attack <= 15 or not num_more


@pytest.mark.slow
@pytest.mark.parametrize(("num_pupils", "num_each"), [(8, 2), pytest.param(25, 5, marks=pytest.mark.long)])
def test_a_class_behind_one_address_counts(arena: Arena, num_pupils: int, num_each: int) -> None:
    crowd = Crowd(arena)
    crowd.at_home(10, num_each)
    num_before = arena.service.standings.rated("blind").num_votes
    crowd.classroom(num_pupils, num_each, "10.3.0.1")
    board = arena.service.standings.rated("blind")
    assert board.num_votes == num_before + num_pupils * num_each, "some are flagged"
    assert board.busiest is not None
    assert (board.busiest.num_votes, board.busiest.num_visitors) == (num_pupils * num_each, num_pupils)
    assert board.busiest.share == pytest.approx(1 / 11), "as one visitor at home"
