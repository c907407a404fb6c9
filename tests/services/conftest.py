from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.services.runs.runs import RunService
from tests.clocks import battles_at_once as battles_at_once
from tests.services.battles.test_arena import Arena
from tests.services.house import House
from tests.storage.conftest import other as other


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Services over fakes and a database file; all closed at the end."""
    house = House(tmp_path / "gac.db")
    yield house
    house.close()


@pytest.fixture
def service(house: House) -> RunService:
    return house.service()


@pytest.fixture
def arena(house: House) -> Arena:
    return Arena(house)
