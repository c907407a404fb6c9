from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from gac_app.config import ServerConfig
from gac_app.server.host import bare_host, mount_page
from tests.clocks import battles_at_once as battles_at_once
from tests.event_loops import loops_are_free as loops_are_free
from tests.server.fakes import FakeService, tiny_page

HERE = "http://localhost:7860"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The host with the smallest page, and one foreign site that may call it."""
    config = ServerConfig(allowed_origins=("https://friend.example",))
    host = bare_host(FakeService(), config)  # type: ignore[arg-type]
    mount_page(host, tiny_page(), {})
    with TestClient(host, base_url=HERE) as client:
        yield client
