from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from gac_app.config import ServerConfig
from gac_app.server.host import bare_host
from tests.server.conftest import HERE
from tests.server.fakes import FakeService, FakeState

KEPT = FakeService().kept()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(bare_host(service, ServerConfig()), base_url=HERE)  # type: ignore[arg-type]


def test_healthz_answers_while_nothing_is_ready(client: TestClient, service: FakeService) -> None:
    service.states = [FakeState("small", "failed", detail="no network")]
    service.storage_error = "the disk is full"
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz_is_200_once_members_and_database_are_ready(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": {}, "kept_prefixes": KEPT})


def test_readyz_names_every_reason(client: TestClient, service: FakeService) -> None:
    service.states = [
        FakeState("small"),
        FakeState("mid", "fetching", 0.4),
        FakeState("large", "failed", detail="gone"),
    ]
    service.is_ready = False
    service.storage_error = "the database is read-only"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "reasons": {"mid": "fetching", "large": "failed: gone", "storage": "the database is read-only"},
        "kept_prefixes": KEPT,
    }


def test_readyz_waits_for_the_ensemble_after_the_last_member(client: TestClient, service: FakeService) -> None:
    service.is_ready = False
    assert client.get("/readyz").json()["reasons"] == {"ensemble": "being built"}


def test_the_service_is_closed_with_the_host(client: TestClient, service: FakeService) -> None:
    with client:
        assert not service.is_closed
    assert service.is_closed
