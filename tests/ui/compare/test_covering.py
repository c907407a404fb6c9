from __future__ import annotations

from gac_app.ui.compare.covering import character_of, describe_covers
from tests.ui.steps import member, step

# Large writes 日本 as one token, Small spells it in three pieces.
NIHON = [
    step(0, b"a"),
    step(1, b"\xe6\x97", {"Large": ()}, is_partial=True),
    step(2, b"\xa5", {"Large": ()}, is_partial=True),
    step(3, "本".encode(), {"Large": ("日本".encode(),)}),
]


def test_a_longer_token_is_told_with_the_place_it_ends() -> None:
    for position in (1, 2):
        assert describe_covers(NIHON, position) == {"Large": {"kind": "inside", "pieces": ["日本"], "until": 3}}


def test_a_re_read_is_told_from_where_it_begins() -> None:
    assert describe_covers(NIHON, 3) == {"Large": {"kind": "together", "pieces": ["日本"], "since": 1}}


def test_a_longer_token_not_told_by_a_step_is_not_named() -> None:
    assert describe_covers(NIHON[:3], 1) == {"Large": {"kind": "inside", "pieces": None, "until": None}}


def test_a_member_that_was_not_asked_again_names_nothing() -> None:
    steps = [*NIHON[:2], step(2, b"\xa5", members=(member("Small", 0.5),)), step(3, b"b", {"Large": (b"b", b"")})]
    assert describe_covers(steps, 1)["Large"]["pieces"] is None


def test_a_later_token_says_nothing_about_an_earlier_one() -> None:
    steps = [step(0, b"x", {"Large": ()}, is_partial=True), step(1, b"y", {"Large": (b"y",)})]
    assert describe_covers(steps, 0)["Large"]["until"] is None


def test_a_token_spelled_in_several_pieces() -> None:
    steps = [step(0, b"a"), step(1, b"xyz", {"Small": (b"x", b"yz")})]
    assert describe_covers(steps, 1) == {"Small": {"kind": "spelled", "pieces": ["x", "yz"]}}
    assert describe_covers(steps, 0) == {}


def test_a_part_of_a_character_names_the_character() -> None:
    assert [character_of(NIHON, position) for position in range(4)] == [None, "日", "日", None]


def test_a_part_of_an_emoji_at_either_end_of_a_token() -> None:
    text = "a😀".encode()
    steps = [step(0, text[:2]), step(1, text[2:4]), step(2, text[4:] + b"b")]
    assert [character_of(steps, position) for position in range(3)] == ["😀", "😀", "😀"]


def test_a_character_that_never_came_has_no_name() -> None:
    assert character_of([step(0, b"\xe6")], 0) is None
    assert character_of([step(0, b"\xe6"), step(1, b"x")], 0) is None
    assert character_of([step(0, b"x"), step(1, b"\xa5")], 1) is None
