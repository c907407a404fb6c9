"""What is kept of studies, for whom, and what becomes advice."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from gac_app.errors import NotFoundError, RequestError, StorageError
from gac_app.evaluation.studies import KeptResults
from gac_app.evaluation.studies.result import StudyResult
from gac_app.services.lab.results import MAX_NAME_CHARS, LabResults
from gac_app.storage import Store, StoredStudy
from tests.services.house import ALICE

NEW, OLD = datetime(2026, 1, 2), datetime(2026, 1, 1)


class FakeStore:
    """Notes what is written, and tells what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.studies: list[StoredStudy] = []
        self.num_read = 0
        self.is_down = False

    def _note(self, *call: Any) -> Future[None]:
        self.calls.append(call)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def save_study(self, key: str, _: str, head: Any, body: Any) -> Future[None]:
        return self._note("save", key, head, body)

    def rename_study(self, *args: str) -> Future[None]:
        return self._note("rename", *args)

    def delete_study(self, *args: str) -> Future[None]:
        return self._note("delete", *args)

    def all_studies(self) -> list[StoredStudy]:
        if self.is_down:
            raise StorageError("planned")
        self.num_read += 1
        return self.studies

    def list_studies(self, _: str) -> list[StoredStudy]:
        return self.all_studies()

    def load_study(self, _: str, study_id: str) -> StoredStudy:
        return next(one for one in self.studies if one.study_id == study_id)


def results_in(folder: Path, store: FakeStore, *, may_edit: bool = False) -> LabResults:
    return LabResults(KeptResults(folder), cast("Store", store), lambda _: may_edit, ("a", "b"))


def result(study: str = "eval", **data: Any) -> StudyResult:
    return StudyResult(study=study, heading="A heading", tables=(), data=data)


def stored(study_id: str, created_at: datetime, body: Any = None, **head: Any) -> StoredStudy:
    return StoredStudy(study_id=study_id, created_at=created_at, head=head, body=body or {})


@pytest.mark.parametrize(
    ("study", "is_own", "is_advice"), [("eval", False, True), ("eval", True, False), ("sweep", False, False)]
)
def test_only_benchmarks_on_common_questions_are_advice(
    study: str, is_own: bool, is_advice: bool, tmp_path: Path
) -> None:
    store = FakeStore()
    kept = result(study, right=3)
    results_in(tmp_path, store).keep(ALICE, kept, ("a", "b"), is_own=is_own)
    head = {
        "name": "",
        "study": study,
        "heading": "A heading",
        "members": ("a", "b"),
        "benchmark": {"right": 3} if is_advice else None,
    }
    assert store.calls == [("save", ALICE, head, asdict(kept))]


def test_advice_is_of_the_same_members_newest_first(tmp_path: Path) -> None:
    store = FakeStore()
    store.studies = [
        stored("1", OLD, members=["b", "a"], benchmark={"number": 1}),
        stored("2", NEW, members=["a", "b"], benchmark={"number": 2}),
        stored("3", NEW, members=["a", "b"], benchmark={"number": 3}),  # as new, and no dictionary is less than another
        stored("4", NEW, members=["a"], benchmark={"number": 4}),
        stored("5", NEW, members=["a", "b"], benchmark=None),
    ]
    results = results_in(tmp_path, store)
    assert [one["number"] for one in results.benchmarks(("a", "b"))] == [2, 3, 1]
    assert [one["number"] for one in results.benchmarks(("a",))] == [4]
    assert store.num_read == 1, "read once"
    results.keep(ALICE, result(), ("a",), is_own=False)
    results.benchmarks(("a",))
    results.delete(ALICE, "1")
    results.benchmarks(("a",))
    assert store.num_read == 3, "and again after a change"
    store.is_down = True
    assert results_in(tmp_path, store).benchmarks(("a",)) == []


def test_a_list_has_a_visitors_own_and_the_operators(tmp_path: Path) -> None:
    store, files = FakeStore(), KeptResults(tmp_path)
    files.keep(result("sweep"), ("b", "a"))
    store.studies = [
        stored("1", datetime(2020, 1, 1), members=["a"], study="eval", heading="Mine", name="Named"),
        stored("2", datetime(2020, 1, 2)),
    ]
    for may_edit in (False, True):
        operators, damaged, mine = results_in(tmp_path, store, may_edit=may_edit).of(ALICE)
        assert (operators.study, operators.is_mine, operators.may_edit) == ("sweep", False, may_edit)
        assert (damaged.id, damaged.heading, damaged.study, damaged.members, damaged.name) == (
            "2",
            "damaged",
            "",
            (),
            "",
        )
        assert (mine.id, mine.heading, mine.study, mine.members, mine.name) == ("1", "Mine", "eval", ("a",), "Named")
        assert (mine.created_at, mine.is_mine, mine.may_edit) == ("2020-01-01T00:00:00", True, True)
    store.is_down = True
    assert [one.study for one in results_in(tmp_path, store).of(ALICE)] == ["sweep"]


def test_strangers_see_files_of_this_configuration_alone(tmp_path: Path) -> None:
    of_others = KeptResults(tmp_path).keep(result("sweep"), ("a", "c"))
    strangers, operators = (results_in(tmp_path, FakeStore(), may_edit=may) for may in (False, True))
    assert strangers.of(ALICE) == []
    with pytest.raises(NotFoundError):
        strangers.load(ALICE, of_others.id)
    assert [one.id for one in operators.of(ALICE)] == [of_others.id]
    assert operators.load(ALICE, of_others.id).members == ("a", "c")


def test_files_of_advice_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = KeptResults(tmp_path)
    kept = [files.keep(result("eval", number=number), ("a", "b")) for number in range(3)]
    results = results_in(tmp_path, FakeStore())
    assert len(results.benchmarks(("a", "b"))) == 3
    monkeypatch.setattr(KeptResults, "_read", lambda *_: pytest.fail("a file is read again"))
    assert len(results.benchmarks(("a", "b"))) == 3
    (tmp_path / f"{kept[0].id}.json").unlink()
    assert len(results.benchmarks(("a", "b"))) == 2


def test_a_result_is_loaded_as_it_was_kept(tmp_path: Path) -> None:
    store, kept = FakeStore(), result("eval", right=3)
    store.studies = [
        stored("one", NEW, asdict(kept), members=["a", "b"], study="eval", heading="H", name="N"),
        stored("two", NEW, {"unknown": 1}),
    ]
    results = results_in(tmp_path, store)
    found = results.load(ALICE, "one")
    assert (found.id, found.created_at, found.members, found.name) == ("one", "2026-01-02T00:00:00", ("a", "b"), "N")
    assert found.result == kept
    with pytest.raises(NotFoundError, match="another version"):
        results.load(ALICE, "two")


def test_names_have_a_limit_and_files_an_owner(tmp_path: Path) -> None:
    store = FakeStore()
    results = results_in(tmp_path, store)
    results.rename(ALICE, "one", f" {'n' * MAX_NAME_CHARS} ")
    results.delete(ALICE, "one")
    assert store.calls == [("rename", ALICE, "one", "n" * MAX_NAME_CHARS), ("delete", ALICE, "one")]
    with pytest.raises(RequestError, match="expected at most 100 characters"):
        results.rename(ALICE, "one", "n" * (MAX_NAME_CHARS + 1))
    file_id = results.files.keep(result("sweep"), ("a",)).id
    for change in (lambda: results.rename(ALICE, file_id, "x"), lambda: results.delete(ALICE, file_id)):
        with pytest.raises(RequestError, match="is the operator's"):
            change()
    operators = results_in(tmp_path, store, may_edit=True)
    operators.rename(ALICE, file_id, "Named")
    assert [one.name for one in operators.files.list()] == ["Named"]
    operators.delete(ALICE, file_id)
    assert operators.files.list() == []
