"""What is kept of studies, for whom, and what becomes advice."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import NotFoundError, StorageError
from gac_app.evaluation.studies import KeptResults
from gac_app.evaluation.studies.result import StudyResult
from gac_app.services.lab.results import LabResults
from gac_app.storage import StoredStudy
from tests.services.house import ALICE
from tests.ui.spy import Spy

NEW, OLD = datetime(2026, 1, 2), datetime(2026, 1, 1)


def store_of(*studies: StoredStudy) -> Any:
    """Has these studies, whoever asks, and notes what is written."""
    done: Future[None] = Future()
    done.set_result(None)
    found = {"all_studies": studies, "list_studies": studies, "load_study": next(iter(studies), None)}
    return Spy(**found, save_study=done, delete_study=done)


def fail(*_: Any) -> None:
    raise StorageError("planned")


def results_in(folder: Path, store: Any, *, may_edit: bool = False) -> LabResults:
    return LabResults(KeptResults(folder), store, lambda _: may_edit, ("a", "b"))


def result(study: str = "eval", **data: Any) -> StudyResult:
    return StudyResult(study=study, heading="A heading", tables=(), data=data)


def stored(study_id: str, created_at: datetime, body: Any = None, **head: Any) -> StoredStudy:
    return StoredStudy(study_id=study_id, created_at=created_at, head=head, body=body or {})


@pytest.mark.parametrize(
    ("study", "is_own", "is_advice"), [("eval", False, True), ("eval", True, False), ("sweep", False, False)]
)
def test_only_benchmarks_on_common_questions_advise(study: str, is_own: bool, is_advice: bool, tmp_path: Path) -> None:
    store, kept = store_of(), result(study, right=3)
    results_in(tmp_path, store).ready_to_keep(ALICE, kept, is_own=is_own)().result()
    benchmark = {"right": 3} if is_advice else None
    head = {"name": "", "study": study, "heading": "A heading", "members": ("a", "b"), "benchmark": benchmark}
    [(call, key, _, *written)] = store.calls
    assert (call, key, written) == ("save_study", ALICE, [head, asdict(kept)])


def test_advice_is_of_the_same_members_newest_first(tmp_path: Path) -> None:
    store = store_of(
        stored("1", OLD, members=["b", "a"], benchmark={"number": 1}),
        stored("2", NEW, members=["a", "b"], benchmark={"number": 2}),
        stored("3", NEW, members=["a", "b"], benchmark={"number": 3}),  # as new, and no dictionary is less than another
        stored("4", NEW, members=["a"], benchmark={"number": 4}),
        stored("5", NEW, members=["a", "b"], benchmark=None),
    )
    results = results_in(tmp_path, store)
    for _ in range(2):
        assert [one["number"] for one in results.benchmarks()] == [2, 3, 1]
    assert store.calls == [("all_studies",)], "read once"
    results.ready_to_keep(ALICE, result(), is_own=False)().result()
    results.benchmarks()
    results.delete(ALICE, "1")
    results.benchmarks()
    assert store.calls.count(("all_studies",)) == 3, "and again after a change"
    results.forget()
    results.benchmarks()
    assert store.calls.count(("all_studies",)) == 4
    store.all_studies = fail
    assert results_in(tmp_path, store).benchmarks() == []


def test_a_list_has_a_visitors_own_and_the_operators(tmp_path: Path) -> None:
    KeptResults(tmp_path).keep(result("sweep"), ("b", "a"))
    store = store_of(
        stored("1", datetime(2020, 1, 1), members=["a"], study="eval", heading="Mine", name="Named"),
        stored("2", datetime(2020, 1, 2)),
    )
    for may_edit in (False, True):
        operators, broken, mine = results_in(tmp_path, store, may_edit=may_edit).of(ALICE)
        assert (operators.study, operators.is_mine, operators.may_edit) == ("sweep", False, may_edit)
        assert (broken.id, broken.heading, broken.study, broken.members, broken.name) == ("2", "damaged", "", (), "")
        assert (mine.id, mine.heading, mine.study, mine.members, mine.name) == ("1", "Mine", "eval", ("a",), "Named")
        assert (mine.created_at, mine.is_mine, mine.may_edit) == ("2020-01-01T00:00:00", True, True)
    store.list_studies = fail
    assert [one.study for one in results_in(tmp_path, store).of(ALICE)] == ["sweep"]


def test_strangers_see_files_of_this_configuration_alone(tmp_path: Path) -> None:
    of_others = KeptResults(tmp_path).keep(result("sweep"), ("a", "c"))
    strangers, operators = (results_in(tmp_path, store_of(), may_edit=may) for may in (False, True))
    assert strangers.of(ALICE) == []
    with pytest.raises(NotFoundError):
        strangers.load(ALICE, of_others.id)
    assert [one.id for one in operators.of(ALICE)] == [of_others.id]
    assert operators.load(ALICE, of_others.id).members == ("a", "c")


def test_files_of_advice_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = KeptResults(tmp_path)
    kept = [files.keep(result("eval", number=number), ("a", "b")) for number in range(3)]
    results = results_in(tmp_path, store_of())
    assert len(results.benchmarks()) == 3
    monkeypatch.setattr(KeptResults, "_read", lambda *_: pytest.fail("a file is read again"))
    assert len(results.benchmarks()) == 3
    (tmp_path / f"{kept[0].id}.json").unlink()
    assert len(results.benchmarks()) == 2


def test_a_result_is_loaded_as_it_was_kept(tmp_path: Path) -> None:
    kept = result("eval", right=3)
    one = stored("one", NEW, asdict(kept), members=["a", "b"], study="eval", heading="H", name="N")
    found = results_in(tmp_path, store_of(one)).load(ALICE, "one")
    assert (found.id, found.created_at, found.members, found.name) == ("one", "2026-01-02T00:00:00", ("a", "b"), "N")
    assert found.result == kept
    with pytest.raises(NotFoundError, match="another version"):
        results_in(tmp_path, store_of(stored("two", NEW, {"unknown": 1}))).load(ALICE, "two")
