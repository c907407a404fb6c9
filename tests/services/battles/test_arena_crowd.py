"""Twenty visitors battle at once: nobody sees another's words, and every acknowledged vote is there."""

from __future__ import annotations

import threading
import time

import pytest

from gac_app.errors import BusyError
from tests.fakes import WAIT_S
from tests.services.battles.test_arena import OUTCOMES, Arena
from tests.services.house import House

NUM_VISITORS = 20


def battle_on(arena: Arena, key: str, until_s: float, voted: dict[str, tuple[str, str]]) -> None:
    """Battle until a time, and until a vote counts; note every acknowledged vote with its visitor."""
    number = 0
    while time.monotonic() < until_s or key not in {visitor for visitor, _ in list(voted.values())}:
        number += 1
        marker = f"marker {key[-2:]} {number}"
        try:
            battle_id = arena.service.start(key, marker).id
        except BusyError:
            time.sleep(0.05)
            continue
        assert arena.service.wait(key, battle_id, 60)
        view = arena.service.battles.look(key, battle_id)
        assert [turn.prompt for turn in view.turns] == [marker]
        outcome = OUTCOMES[number % 4]
        assert arena.service.judge.vote(key, battle_id, outcome, view.ballot).outcome == outcome
        voted[battle_id] = key, outcome


@pytest.mark.parametrize("seconds", [0.5, pytest.param(120.0, marks=pytest.mark.long)])
def test_a_crowd(house: House, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.settling.STORE_TIMEOUT_S", WAIT_S)  # of twenty at once
    server = {"max_running": 6, "max_waiting": 30}
    arena = Arena(house, server=server, arena={"max_per_hour": 100_000}, settings={"max_new_tokens": 3})
    voted: dict[str, tuple[str, str]] = {}
    errors: list[BaseException] = []

    def visit(key: str) -> None:
        try:
            battle_on(arena, key, until_s, voted)
        except BaseException as error:
            errors.append(error)

    until_s = time.monotonic() + seconds
    visitors = [threading.Thread(target=visit, args=(f"{number:064}",)) for number in range(NUM_VISITORS)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()

    assert errors == []
    assert len({key for key, _ in voted.values()}) == NUM_VISITORS
    assert {row.battle_id: row.outcome for row in arena.store.battles.votes()} == {
        one: said for one, (_, said) in voted.items()
    }
    assert len({row.visitor_id for row in arena.store.battles.votes()}) == NUM_VISITORS
    for key in {key for key, _ in voted.values()}:
        prompts = [battle.body["turns"][0]["prompt"] for battle in arena.store.battles.export(key)]
        assert all(prompt.startswith(f"marker {key[-2:]} ") for prompt in prompts)
    print(f"{len(voted)} votes of {NUM_VISITORS} visitors in {seconds:.0f} s")
