from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.trace.events import StepTrace
from gac_app.settings import Settings
from gac_app.ui.compare.covering import character_of, describe_covers
from gac_app.ui.compare.inspection import describe_step
from gac_app.ui.compare.spelling import label_of
from tests.ui.planted import planted_step
from tests.ui.steps import Top, member, step

SETTINGS = Settings(gate="Small", threshold=0.5)
STEPS = [planted_step(0, "Paris"), planted_step(1, " is")]


def test_a_step_is_described_as_plain_json() -> None:
    seen = describe_step(STEPS, 1, SETTINGS)
    assert json.loads(json.dumps(seen)) == seen
    assert (seen["label"], seen["is_ensembled"], seen["winner"]) == ("␣is", True, "Small")
    assert [(row["label"], row["is_chosen"]) for row in seen["top"]] == [("␣is", True), ("␣instead", False)]
    parts = {part["member"]: round(part["prob"], 6) for part in seen["top"][0]["parts"]}
    assert parts == {"Small": 0.3, "Large": 0.2}, "weight times probability: 0.5 x 0.6 and 0.5 x 0.4"


def test_where_the_gate_was_lost_the_next_one_is_told() -> None:
    lost = replace(STEPS[1], members=STEPS[1].members[1:], dropped=("Small",))
    assert [describe_step([one], 0, SETTINGS)["gate"] for one in (STEPS[1], lost)] == ["Small", "Large"]


def test_a_draft_is_told_with_who_made_it() -> None:
    steps = [planted_step(position, "a") for position in (1, 2, 5)]
    seen = [describe_step(steps, at, SETTINGS) for at in range(3)]
    assert [(one["is_drafted"], one["drafted_by"]) for one in seen] == [(False, None), (True, ["Large"]), (False, [])]


def test_end_is_a_candidate_like_any_other() -> None:
    seen = describe_step([planted_step(0, "")], 0, SETTINGS)
    assert seen["is_end"]
    assert seen["top"][0]["label"] == "END"


def test_a_token_outside_the_top_has_its_row_everywhere() -> None:
    likeliest: Top = {b"a": 0.3, b"b": 0.2}
    members = (member("Small", 0.01, likeliest), member("Large", 0.25, likeliest))
    seen = describe_step([step(0, b"z", members=members, prob=0.13, top=likeliest)], 0, SETTINGS)
    rows = {"all": seen["top"], "Small": seen["members"][0]["top"], "Large": seen["members"][1]["top"]}
    labels = {name: [row["label"] for row in shown] for name, shown in rows.items()}
    assert labels == {"all": ["a", "b", "z"], "Small": ["a", "b", "z"], "Large": ["a", "z", "b"]}
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


@pytest.mark.parametrize("is_partial", [True, False])
def test_without_its_probability_nothing_stands_under_it(is_partial: bool) -> None:
    members = (member("Small", 0.9, {b"  ": 0.9}), member("Large", 0.05, LARGE))
    seen = describe_step([step(0, b"  ", members=members, is_partial=is_partial)], 0, SETTINGS)
    assert not seen["members"][1]["includes_longer"]
    assert is_partial or not any(row["is_longer"] for shown in seen["members"] for row in shown["top"])


@pytest.mark.parametrize(
    ("weights", "is_partial", "follow"),
    [("average", True, "stretch"), ("average", False, None), ("posterior", False, "text"), ("posterior", True, "text")],
)
def test_what_moves_the_weights_is_told(weights: str, is_partial: bool, follow: str | None) -> None:
    alone = (member("Small", 1.0),)
    steps = [step(0, b"a", is_partial=is_partial), step(1, b"b"), step(2, b"c", members=alone), step(3, b"d")]
    settings = Settings(gate="Small", weights=weights)  # type: ignore[arg-type]
    assert describe_step(steps, 1, settings)["weights_follow"] == follow
    behind_the_gate = describe_step(steps, 3, settings)["weights_follow"]
    assert behind_the_gate == (follow if weights == "posterior" else None), "the gate alone begins a new stretch"


# Large writes 日本 as one token, Small spells it in three pieces.
NIHON = [
    step(0, b"a"),
    step(1, b"\xe6\x97", {"Large": ()}, is_partial=True),
    step(2, b"\xa5", {"Large": ()}, is_partial=True),
    step(3, "本".encode(), {"Large": ("日本".encode(),)}),
]
NOT_ASKED = [*NIHON[:2], step(2, b"\xa5", members=(member("Small", 0.5),)), step(3, b"b", {"Large": (b"b", b"")})]
LATER = [step(0, b"x", {"Large": ()}, is_partial=True), step(1, b"y", {"Large": (b"y",)})]
SPELLED = [step(0, b"a"), step(1, b"xyz", {"Small": (b"x", b"yz")})]
INSIDE = {"Large": {"kind": "inside", "pieces": ["日本"], "until": 3}}
UNKNOWN = {"Large": {"kind": "inside", "pieces": None, "until": None}}


@pytest.mark.parametrize(
    ("steps", "position", "told"),
    [
        *((NIHON, 1, INSIDE), (NIHON, 2, INSIDE)),
        (NIHON, 3, {"Large": {"kind": "together", "pieces": ["日本"], "since": 1}}),
        *((NIHON[:3], 1, UNKNOWN), (NOT_ASKED, 1, UNKNOWN)),  # a longer token that no step tells
        (LATER, 0, UNKNOWN),  # a later token says nothing about an earlier one
        *((SPELLED, 1, {"Small": {"kind": "spelled", "pieces": ["x", "yz"]}}), (SPELLED, 0, {})),
    ],
)
def test_a_token_is_told_with_those_it_is_a_part_of(
    steps: list[StepTrace], position: int, told: dict[str, dict[str, Any]]
) -> None:
    assert describe_covers(steps, position) == told


EMOJI = "a😀".encode()
CUT = [step(0, EMOJI[:2]), step(1, EMOJI[2:4]), step(2, EMOJI[4:] + b"b")]
CHARACTERS = [(NIHON, [None, "日", "日", None]), (CUT, ["😀"] * 3), ([step(0, b"\xe6")], [None])]  # one never came
CHARACTERS += [([step(0, b"\xe6"), step(1, b"x"), step(2, b"\xa5")], [None] * 3)]


@pytest.mark.parametrize(("steps", "characters"), CHARACTERS)
def test_a_part_of_a_character_names_it(steps: list[StepTrace], characters: list[str | None]) -> None:
    assert [character_of(steps, position) for position in range(len(steps))] == characters


LABELS = [(b" the", "␣the"), (b"\n\n", "⏎⏎"), (b"\t\r\x00", "⇥␍␀"), (b"", "END"), ("日本".encode(), "日本")]
LABELS += [(b"a\xe2\x82", "a⟨E2 82⟩"), ("\u202e\u00a0".encode(), "⟨U+202E⟩⟨U+00A0⟩")]


@pytest.mark.parametrize(("token", "label"), LABELS)
def test_labels(token: bytes, label: str) -> None:
    assert label_of(token) == label


@given(st.binary(min_size=1, max_size=12))
def test_no_label_hides_anything(token: bytes) -> None:
    label = label_of(token)
    assert label
    inner = label.replace(" ", "")  # the only space stands between the bytes of ⟨E2 82⟩
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Zs", "Cs") for char in inner)
