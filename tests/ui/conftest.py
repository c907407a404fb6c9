from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.services.runs.runs import RunService
from tests.clocks import battles_at_once as battles_at_once
from tests.ui.planted import Planted, planted_arena, planted_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunService]:
    """A service whose ensemble answers at once."""
    service = planted_service(tmp_path)
    yield service
    service.close()


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    """An arena over such a service."""
    planted = planted_arena(tmp_path)
    yield planted
    planted.runs.close()
