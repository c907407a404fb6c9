"""Results of studies: kept, listed and read again; as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from gac_app.errors import NotFoundError, StorageError
from gac_app.evaluation.studies.kept_results import KeptResults
from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer, StudyResult, Table, to_csv

TABLE = Table(("system", "accuracy"), [["alone:a", "10.0%"], ["every-step", "+2.5%"]], "Türme & <b>")
PLOT = {"title": "t", "layer": []}
ASKED = AskedQuestion("1", "Who?", "Nobody", [GivenAnswer("alone:a", "I", is_right=False, text=" I am.")])
DATA = {"n": 2, "x": [1.5, None]}
RESULT = StudyResult("eval", "nq: 2 questions", [TABLE, TABLE], DATA, ("So.",), [PLOT], "one", [ASKED])


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    results = KeptResults(tmp_path / "new" / "results")
    assert results.list() == []
    kept = results.keep(RESULT, ("a", "b"))
    assert results.load(kept.id).result.data == RESULT.data
    again = results.load(kept.id)
    assert (again.members, again.created_at, again.result.plots) == (("a", "b"), kept.created_at, [PLOT])
    assert again.result.asked == [ASKED]
    assert [list(map(list, table.rows)) for table in again.result.tables] == [[list(r) for r in TABLE.rows]] * 2
    assert (again.result.remarks, again.result.failure) == (["So."], "one")


def test_the_newest_come_first_and_other_files_are_passed_over(tmp_path: Path) -> None:
    results = KeptResults(tmp_path)
    kept = [results.keep(RESULT, ("a",)).id for _ in range(3)]
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "20200101T000000-eval-abcdef.json").write_text('{"id": 1}')
    (tmp_path / "20200101T000001-eval-abcdef.json").write_text("{")
    assert {one.id for one in results.list()} == set(kept)
    assert [one.id for one in results.list()] == sorted(kept, reverse=True)


@pytest.mark.parametrize(
    "name", ["", "../secret", "20200101T000000-eval-abcdef", "x" * 1000, "20200101T000000-eval-abcdef/.."]
)
def test_no_other_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(NotFoundError):
        KeptResults(tmp_path / "results").load(name)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StorageError, match="cannot be written"):
        KeptResults(tmp_path / "results").keep(RESULT, ("a",))


def rows_of(*tables: Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(to_csv(tables))))


def test_csv_has_all_tables_and_no_formula() -> None:
    odd = Table(("a", "=b"), [["=1+1", "+2.5%"], ["-x", "@y"], ["+1.0% (p A1)", 'say "so", yes']], "T")
    assert rows_of(odd, TABLE) == [
        ["T"],
        ["a", "'=b"],
        ["'=1+1", "'+2.5%"],
        ["'-x", "'@y"],
        ["'+1.0% (p A1)", 'say "so", yes'],
        [],
        ["Türme & <b>"],
        ["system", "accuracy"],
        ["alone:a", "0.1"],
        ["every-step", "0.025"],
    ]
