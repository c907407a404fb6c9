from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.storage import NewRun, Store
from tests.databases import database_in
from tests.storage.samples import new_run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gac.db"


@pytest.fixture
def url(path: Path) -> str:
    """Of an empty database."""
    return database_in(path)


@pytest.fixture
def new_url(path: Path) -> str:
    """Of a database that is yet to be made."""
    return f"sqlite:///{path}"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    store = Store(url)
    yield store
    store.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    """The store of another database, to which things move."""
    other = Store(database_in(tmp_path / "other.db"))
    yield other
    other.close()


@pytest.fixture
def run(store: Store) -> NewRun:
    """A run of the store's that goes on."""
    run = new_run()
    store.start_run(run).result()
    return run
