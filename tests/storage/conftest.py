from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.storage import Store
from tests.databases import database_in


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
