"""Steps that wait are cut into the passes that are the soonest done with them."""

from __future__ import annotations

import pytest

from gac_app.models import pass_costs
from gac_app.models.pass_costs import PassCosts


def learned(seconds: dict[int, float]) -> PassCosts:
    costs = PassCosts()
    for size, cost in seconds.items():
        for _ in range(5):
            costs.note(size, cost)
    return costs


def test_what_is_not_known_is_tried_together() -> None:
    assert PassCosts().sizes(6) == [6]
    assert learned({1: 1.0}).sizes(6) == [6]
    assert learned({1: 1.0, 2: 1.5}).sizes(2) == [2]


@pytest.mark.parametrize(
    ("seconds", "num_steps", "sizes"),
    [
        ({1: 10, 2: 25, 3: 43}, 2, [1, 1]),
        ({1: 10, 2: 25, 3: 43}, 3, [1, 1, 1]),
        ({1: 10, 2: 25, 3: 43, 4: 33, 5: 90}, 4, [4]),
        ({1: 10, 2: 25, 3: 43, 4: 33, 5: 90}, 5, [4, 1]),
        ({1: 10, 2: 11, 3: 12}, 3, [3]),
        ({1: 10, 2: 20}, 2, [2]),
        ({1: 10}, 1, [1]),
        ({1: 10}, 0, [0]),
    ],
)
def test_the_cheapest_sizes_are_taken(seconds: dict[int, float], num_steps: int, sizes: list[int]) -> None:
    assert learned(seconds).sizes(num_steps) == sizes


def test_what_a_pass_together_gains() -> None:
    costs = learned({1: 10, 2: 25, 3: 43, 4: 33})
    assert costs.gain(1, 1) == 0, "they are read in passes of their own"
    assert costs.gain(3, 1) == 7
    assert costs.gain(2, 2) == 7
    assert PassCosts().gain(2, 2) == 0


def test_a_single_slow_pass_changes_nothing() -> None:
    costs = learned({1: 10, 2: 12})
    costs.note(2, 1000)
    assert costs.sizes(2) == [2]


def test_what_was_too_dear_is_tried_again() -> None:
    costs = learned({1: 10, 2: 25})
    tried = [costs.sizes(2) for _ in range(2 * pass_costs._AGAIN)]
    assert tried.count([2]) == 2
    for _ in range(pass_costs._PLANNED):
        costs.note(2, 11)
    assert costs.sizes(2) == [2]


def test_two_passes_of_a_size_are_trusted() -> None:
    costs = PassCosts()
    for _ in range(2):
        costs.note(1, 10)
    costs.note(2, 25)
    assert costs.sizes(2) == [2]
    costs.note(2, 26)
    assert costs.sizes(2) == [1, 1]


def test_a_plan_holds_for_some_passes() -> None:
    costs = learned({1: 10, 2: 25})
    assert costs.sizes(2) == [1, 1]
    for _ in range(10, pass_costs._PLANNED - 1):
        costs.note(2, 11)
        assert costs.sizes(2) == [1, 1]
    costs.note(2, 11)
    assert costs.sizes(2) == [2]


def test_single_steps_are_no_tries() -> None:
    costs = learned({1: 10, 2: 25})
    for _ in range(2 * pass_costs._AGAIN):
        assert costs.sizes(1) == [1]
    tried = [costs.sizes(2) for _ in range(pass_costs._AGAIN - 1)]
    assert tried[:-1] == [[1, 1]] * (pass_costs._AGAIN - 2)
    assert tried[-1] == [2]
