"""Results of studies are their visitor's, and damaged ones are still listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.errors import DamagedError
from gac_app.storage import Store
from tests.databases import sql
from tests.storage.samples import ALICE, BOB, new_id

HEAD, BODY = {"name": "é", "study": "eval"}, {"tables": [["xyzzy"]]}


def saved(store: Store, path: Path, *keys: str) -> list[str]:
    """The ids of a result of each of these visitors, a day apart."""
    ids = [new_id() for _ in keys]
    for day, (key, study_id) in enumerate(zip(keys, ids, strict=True), 1):
        store.save_study(key, study_id, HEAD, BODY).result()
        sql(path, "UPDATE study SET created_at = ? WHERE id = ?", f"2026-01-0{day} 00:00:00.000000", study_id)
    return ids


def test_a_visitor_sees_their_own_newest_first(store: Store, path: Path) -> None:
    first, bobs, last = saved(store, path, ALICE, BOB, ALICE)
    assert [(one.study_id, one.head, one.body) for one in store.list_studies(ALICE)] == [
        (last, HEAD, {}),
        (first, HEAD, {}),
    ]
    assert [one.study_id for one in store.all_studies()] == [last, bobs, first]
    found = store.load_study(ALICE, first)
    assert (found.study_id, found.head, found.body) == (first, HEAD, BODY)


def test_a_new_name_changes_nothing_else(store: Store, path: Path) -> None:
    (study_id,) = saved(store, path, ALICE)
    store.rename_study(ALICE, study_id, "of today").result()
    found = store.load_study(ALICE, study_id)
    assert (found.head, found.body) == ({**HEAD, "name": "of today"}, BODY)


def test_a_damaged_result_is_listed_without_a_head(store: Store, path: Path) -> None:
    headless, bodiless = saved(store, path, ALICE, ALICE)
    sql(path, "UPDATE study SET head = x'00' WHERE id = ?", headless)
    sql(path, "UPDATE study SET body = x'00' WHERE id = ?", bodiless)
    assert [(one.study_id, one.head) for one in store.list_studies(ALICE)] == [(bodiless, HEAD), (headless, {})]
    for study_id in (headless, bodiless):
        with pytest.raises(DamagedError):
            store.load_study(ALICE, study_id)
        store.delete_study(ALICE, study_id).result()
    assert store.list_studies(ALICE) == []
