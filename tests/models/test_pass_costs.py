"""Passes are timed by their number of ids: the gain of a larger batch follows."""

from __future__ import annotations

from gac_app.models.pass_costs import PassCosts


def learned(seconds: dict[int, float]) -> PassCosts:
    costs = PassCosts()
    for size, cost in seconds.items():
        for _ in range(5):
            costs.note(size, cost)
    return costs


def test_what_a_pass_together_gains() -> None:
    costs = learned({1: 10, 2: 25, 3: 43, 4: 33})
    assert costs.gain(1, 1) == -5, "nobody waits for that"
    assert costs.gain(3, 1) == 20
    assert costs.gain(2, 2) == 17
    assert costs.gain(4, 1) == 33, "what is not known gets tried"
    assert PassCosts().gain(2, 2) == 0
    assert learned({2: 25}).gain(2, 2) == 0


def test_a_single_slow_pass_changes_nothing() -> None:
    costs = learned({2: 12})
    costs.note(2, 1000)
    assert costs.seconds(2) == 12


def test_two_passes_of_a_size_are_trusted() -> None:
    costs = PassCosts()
    costs.note(2, 26)
    assert costs.seconds(2) == 0
    costs.note(2, 25)
    assert costs.seconds(2) == 25
