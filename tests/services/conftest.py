from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Services over fakes and a database file; all closed at the end."""
    house = House(tmp_path / "gac.db")
    yield house
    house.close()


@pytest.fixture(autouse=True)
def _battles_are_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as they are there, not as fast as people read."""
    monkeypatch.setattr("gac_app.arena.pacing.Tempo.rate", 1e6)
