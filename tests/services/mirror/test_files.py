"""What an import finds in files, place by place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gac_app.services.mirror import files
from gac_app.services.mirror.files import BadLines, ImportResult, Index, _lines, _Place, _texts, deletion_line, index_of
from gac_app.storage import DeletedIds


def test_a_line_is_found_by_its_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(files, "_CHUNK_BYTES", 4)
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"short\n\n0123456789abcdefg\n \t\n0123456789\nlast")
    assert list(_lines(path)) == [
        (0, 1, b"short\n"),
        (7, 3, b"0123456789a"),
        (28, 5, b"0123456789\n"),
        (39, 6, b"last"),
    ]
    path.write_bytes(b"")
    assert list(_lines(path)) == []


def place(**changes: Any) -> _Place:
    fields = {"is_battle": False, "created_at": "2026", "path": Path("f"), "offset": 0, "number": 1, "digest": 0}
    return _Place(**{**fields, "stamp": "s", **changes})


def test_a_line_is_read_again_as_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 10)
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"0123456789\nlast")
    places = [place(path=path, offset=offset, number=number) for offset, number, _ in _lines(path)]
    assert [text for _, text in _texts(places)] == [text for *_, text in _lines(path)] == [b"0123456789\n", b"last"]


@pytest.mark.parametrize(
    ("key", "stamp", "lacks"),
    [("known", "s", False), ("known", "newer", True), ("other", "s", True), ("gone", "s", False), ("gone", "t", False)],
)
def test_what_an_index_lacks(key: str, stamp: str, lacks: bool) -> None:
    index = Index({"known": place(), "gone": place()}, {"gone"})
    assert index.lacks(key, stamp) is lacks


def test_runs_come_before_battles_and_parents_before_children() -> None:
    places = [
        place(is_battle=True, created_at="2025"),
        place(created_at="2026", offset=9),
        place(created_at="2026", offset=1),
        place(created_at="2024"),
    ]
    assert sorted(places) == [places[3], places[2], places[1], places[0]]


def test_bad_lines_are_named_up_to_a_number() -> None:
    bad = BadLines()
    assert str(bad) == ""
    for number in range(1, 21):
        bad.note(Path("folder/f.jsonl"), number, "invalid JSON")
    assert str(bad).splitlines() == [f"f.jsonl, line {number}: invalid JSON" for number in range(1, 21)]
    bad.note(Path("f.jsonl"), 21, "invalid JSON")
    assert (bad.num, str(bad).splitlines()[20:]) == (21, ["and 1 more"])


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0, 0, 0, 0), "0 new, 0 known already"),
        ((1234, 2, 0, 0), "1,234 new, 2 known already"),
        ((1, 2, 3, 4), "1 new, 2 known already, 3 deleted, 4 skipped"),
    ],
)
def test_an_import_in_words(numbers: tuple[int, int, int, int], text: str) -> None:
    assert str(ImportResult(*numbers)) == text


def test_an_index_says_when_it_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_AT_ONCE", 2)
    path, told = tmp_path / "f.jsonl", list[tuple[int, int]]()
    gone = [json.loads(deletion_line(DeletedIds([f"{n:032x}"], [f"{n + 9:032x}"]))) for n in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in gone) + "no JSON\n")

    def go_on(num_done: int, num: int) -> bool:
        told.append((num_done, num))
        return num_done < 4

    assert len(index_of([path], go_on).deleted) == 2 * 3, "the fourth line is not read"
    assert told == [(2, 0), (4, 0)]
    whole = index_of([path, path])
    assert whole.deleted == {f"{n:032x}" for n in range(14)} - {f"{n:032x}" for n in range(5, 9)}
    assert (whole.bad.num, str(whole.bad).splitlines()[0][:18]) == (2, "f.jsonl, line 6: i")
