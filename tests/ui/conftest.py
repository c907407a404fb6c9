from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.services.runs.runs import RunService
from tests.ui.planted import planted_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunService]:
    """A service whose ensemble answers at once."""
    service = planted_service(tmp_path)
    yield service
    service.close()


@pytest.fixture(autouse=True)
def _battles_are_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as they are there, not as fast as people read."""
    monkeypatch.setattr("gac_app.arena.pacing.Tempo.rate", 1e6)
