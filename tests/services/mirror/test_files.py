"""What an import finds in files, place by place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.services.mirror import files
from gac_app.services.mirror.files import deletion_line, erase, index_of
from gac_app.storage import DeletedIds


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
    assert (whole.num_bad, whole.reasons.splitlines()[0][:18]) == (2, "f.jsonl, line 6: i")


def test_an_erasure_tells_of_a_line_in_any_file(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("early.jsonl", "late.jsonl")]
    for path, key in zip(paths, "ab", strict=True):
        path.write_text(json.dumps({"run_id": key * 32}) + "\n")
    assert erase(paths, {"a" * 32}), "there is something to be pushed"
    assert [path.read_text().isspace() for path in paths] == [True, False]
    assert not erase(paths, {"a" * 32})
