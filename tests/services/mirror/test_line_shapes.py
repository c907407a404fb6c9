"""What the lines of an import may hold, shape by shape."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gac_app.services.mirror.line_shapes import Facts, Judgement, Moment, _follow_each_other, _has_no_text


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2026-01-31T12:00:00+00:00", True),
        ("2026-01-31T12:00:00Z", True),
        ("2026-01-31T12:00:00.5-08:00", True),
        ("2026-01-31T12:00:00", False),  # without its zone
        ("2026-01-31", False),
        ("0001-01-01T00:00:00+23:00", False),  # before the first year in UTC
        ("9999-12-31T23:59:59-01:00", False),
        ("soon", False),
        ("2026-01-31T12:00:00+00:00" + " " * 20, False),
    ],
)
def test_a_moment_has_its_zone(text: str, is_one: bool) -> None:
    moment = TypeAdapter(Moment)
    if is_one:
        assert moment.validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            moment.validate_python(text)


@pytest.mark.parametrize("value", [True, 3, 2.5, None])
def test_other_facts_are_numbers_and_flags(value: Any) -> None:
    facts: Any = {"turn": 1, "more": value}
    assert _has_no_text(facts) == facts
    for wrong in ("text", ["x"], {"a": 1}):
        with pytest.raises(ValueError, match="facts hold numbers and flags only"):
            _has_no_text({"turn": 1, "more": wrong})  # type: ignore[typeddict-unknown-key]


def row(position: int, kind: str, outcome: str = "", body: Any = None) -> Judgement:
    facts: Facts = {}
    return {
        "id": "0" * 32,
        "position": position,
        "kind": kind,
        "outcome": outcome,
        "facts": facts,
        "body": body,
        "created_at": "2026-01-31T12:00:00Z",
    }


REMARK: Any = {"reasons": {}, "comment": "so"}


def test_judgements_follow_each_other() -> None:
    rows = [
        row(0, "vote", "left"),
        row(1, "remark", body=REMARK),
        row(2, "undo"),
        row(3, "vote", "tie"),
        row(4, "verdict", "dropped"),
    ]
    assert _follow_each_other(rows) == rows
    assert _follow_each_other([]) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(1, "vote", "left")], "the positions 0, 1, 2"),
        ([row(0, "vote", "left"), row(0, "undo")], "the positions 0, 1, 2"),
        ([row(0, "vote", "best")], "an outcome of its kind"),
        ([row(0, "vote")], "an outcome of its kind"),
        ([row(0, "verdict", "left")], "an outcome of its kind"),
        ([row(0, "undo", "left")], "an outcome of its kind"),
        ([row(0, "vote", "left", REMARK)], "has a body"),
        ([row(0, "remark")], "has a body"),
    ],
)
def test_judgements_that_cannot_be_are_refused(rows: list[Judgement], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _follow_each_other(rows)
