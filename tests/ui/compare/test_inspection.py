from __future__ import annotations

import json

import pytest

from gac_app.settings import Settings
from gac_app.ui.compare.inspection import describe_step
from tests.ui.planted import planted_step
from tests.ui.steps import Top, member, step

SETTINGS = Settings(gate="Small", threshold=0.5)
STEPS = [planted_step(0, "Paris"), planted_step(1, " is")]


def test_a_step_is_described_as_plain_json() -> None:
    seen = describe_step(STEPS, 1, SETTINGS)
    assert json.loads(json.dumps(seen)) == seen
    assert (seen["label"], seen["is_ensembled"], seen["winner"]) == ("␣is", True, "Small")
    assert [(row["label"], row["is_chosen"]) for row in seen["top"]] == [("␣is", True), ("␣instead", False)]


def test_a_draft_is_told_with_who_made_it() -> None:
    steps = [planted_step(position, "a") for position in (1, 2, 5)]
    seen = [describe_step(steps, at, SETTINGS) for at in range(3)]
    assert [(one["is_drafted"], one["drafted_by"]) for one in seen] == [(False, None), (True, ["Large"]), (False, [])]


def test_parts_of_the_chosen_token_are_weight_times_probability() -> None:
    seen = describe_step(STEPS, 1, SETTINGS)
    parts = {part["member"]: round(part["prob"], 6) for part in seen["top"][0]["parts"]}
    assert parts == {"Small": 0.3, "Large": 0.2}  # 0.5 x 0.6 and 0.5 x 0.4


def test_end_is_a_candidate_like_any_other() -> None:
    seen = describe_step([planted_step(0, "")], 0, SETTINGS)
    assert seen["is_end"]
    assert seen["top"][0]["label"] == "END"


def test_a_token_outside_the_top_has_its_row_everywhere() -> None:
    likeliest: Top = {b"a": 0.3, b"b": 0.2}
    members = (member("Small", 0.01, likeliest), member("Large", 0.25, likeliest))
    seen = describe_step([step(0, b"z", members=members, prob=0.13, top=likeliest)], 0, SETTINGS)
    rows = {"all": seen["top"], "Small": seen["members"][0]["top"], "Large": seen["members"][1]["top"]}
    assert {name: [row["label"] for row in shown] for name, shown in rows.items()} == {
        "all": ["a", "b", "z"],
        "Small": ["a", "b", "z"],
        "Large": ["a", "z", "b"],
    }
    assert [row["prob"] for shown in rows.values() for row in shown if row["is_chosen"]] == [0.13, 0.01, 0.25]


# "  " was chosen: Small ends there, Large wants three or four spaces.
LARGE: Top = {b"    ": 0.6, b"x": 0.2, b"   ": 0.1, b"  ": 0.05}


def test_what_begins_with_an_open_token_stands_under_it() -> None:
    members = (member("Small", 0.9, {b"  ": 0.9}), member("Large", 0.75, LARGE))
    seen = describe_step([step(0, b"  ", members=members, is_partial=True)], 0, SETTINGS)
    large = seen["members"][1]
    assert [(row["label"], row["is_longer"]) for row in large["top"]] == [
        ("␣␣", False), ("␣␣␣␣", True), ("␣␣␣", True), ("x", False),
    ]  # fmt: skip
    assert [row["prob"] for row in large["top"]] == [0.75, 0.6, 0.1, 0.2]
    assert [seen["members"][index]["includes_longer"] for index in (0, 1)] == [False, True]


def test_a_partial_token_without_the_longer_ones_says_so() -> None:
    members = (member("Small", 0.9, {b"  ": 0.9}), member("Large", 0.05, LARGE))
    seen = describe_step([step(0, b"  ", members=members, is_partial=True)], 0, SETTINGS)
    assert not seen["members"][1]["includes_longer"]


def test_nothing_is_longer_than_a_token_that_is_not_partial() -> None:
    members = (member("Small", 0.9, {b"  ": 0.9}), member("Large", 0.05, LARGE))
    seen = describe_step([step(0, b"  ", members=members)], 0, SETTINGS)
    assert not any(row["is_longer"] for shown in seen["members"] for row in shown["top"])


@pytest.mark.parametrize(
    ("weights", "is_partial", "follow"),
    [("average", True, "stretch"), ("average", False, None), ("posterior", False, "text"), ("posterior", True, "text")],
)
def test_what_moves_the_weights_is_told(weights: str, is_partial: bool, follow: str | None) -> None:
    steps = [
        step(0, b"a", is_partial=is_partial),
        step(1, b"b"),
        step(2, b"c", members=(member("Small", 1.0),)),
        step(3, b"d"),
    ]
    settings = Settings(gate="Small", weights=weights)  # type: ignore[arg-type]
    assert describe_step(steps, 1, settings)["weights_follow"] == follow
    behind_the_gate = describe_step(steps, 3, settings)["weights_follow"]
    assert behind_the_gate == (follow if weights == "posterior" else None), "the gate alone begins a new stretch"
