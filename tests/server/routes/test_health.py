from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from gac_app import __version__
from gac_app.config import ServerConfig
from gac_app.server.host import bare_host, create_host
from gac_app.server.routes import health
from gac_app.server.routes.operator import OperatorOnly, kept_route
from gac_app.services.members import MemberState
from gac_app.storage import Store
from tests.databases import full_disk, locked
from tests.fakes import SOON_S, WAIT_S
from tests.server.conftest import HERE
from tests.server.fakes import FakeService, host_with
from tests.services.house import House


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service: FakeService) -> TestClient:
    return TestClient(bare_host(service, ServerConfig()), base_url=HERE)  # type: ignore[arg-type]


def test_readyz_is_200_once_all_is_ready(client: TestClient, service: FakeService) -> None:
    for path in ("/readyz", "/health"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": {}})
    assert client.get("/version").json() == {"version": __version__}
    service.members.are_ready = False
    assert client.get("/readyz").json()["reasons"] == {"ensemble": "being built"}, "after the last member"


def test_readyz_names_every_reason_and_no_folder(client: TestClient, service: FakeService) -> None:
    failed = MemberState("large", "failed", detail="/root/.cache/gac/large.gguf is not whole")
    service.members.found = [MemberState("small", "ready"), MemberState("mid", "fetching", 0.4), failed]
    service.members.are_ready = False
    service.storage_error = "the database /data/visitors/gac.db is locked"
    answer = client.get("/readyz")
    assert answer.status_code == 503
    reasons = {"mid": "fetching", "large": "failed: large.gguf is not whole"}
    reasons["storage"] = "the database gac.db is locked"
    assert answer.json() == {"status": "not ready", "reasons": reasons}
    healthy = client.get("/healthz")
    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})


def test_the_service_is_closed_with_the_host(client: TestClient, service: FakeService) -> None:
    with client:
        assert not service.is_closed
    assert service.is_closed


def test_what_members_keep_is_for_the_operator_alone(service: FakeService) -> None:
    client = TestClient(host_with(kept_route(service, OperatorOnly("secret"))), base_url=HERE)  # type: ignore[arg-type]
    assert client.get("/operator/kept-prefixes").status_code == 401
    service.members.kept = lambda: {"large": {"num_ids": 1, "max_ids": 2}}  # since they are loaded now
    told = client.get("/operator/kept-prefixes", headers={"Authorization": "Bearer secret"})
    assert told.json() == service.members.kept()


def test_a_locked_and_a_full_database_are_told_while_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_HOLDS_S", 0.0)
    house = House(path := tmp_path / "gac.db")
    service = house.service(store=Store(house.url, retry_s=0.1))
    for name in service.config.member_names:
        service.members.set(name, "ready")
    client = TestClient(create_host(service, service.config), base_url=HERE)
    assert client.get("/readyz").status_code == 200
    for trouble, problem in ((locked(path), "database is locked"), (full_disk(0), "disk I/O error")):
        with trouble:
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == {"storage": f"the database cannot be used: {problem}"}
            assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
    house.close()


@pytest.mark.anyio
async def test_while_the_database_is_locked_all_share_one_check(service: FakeService) -> None:
    num_checks, is_unlocked = 0, threading.Event()

    def check() -> None:
        nonlocal num_checks
        num_checks += 1
        assert is_unlocked.wait(WAIT_S)

    service.check_storage = check  # type: ignore[method-assign]
    transport = httpx.ASGITransport(app=bare_host(service, ServerConfig()))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        waiting = [asyncio.create_task(client.get("/readyz")) for _ in range(45)]
        while not num_checks:
            await asyncio.sleep(0.01)
        for _ in range(100):  # turns of the loop, in which the others come to the same check
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.to_thread(lambda: None), SOON_S)  # as the page's own work
        waiting[0].cancel()  # the others still get their answer
        is_unlocked.set()
        answers = [(await answer).status_code for answer in waiting[1:]]
        answers.append((await client.get("/readyz")).status_code)
    assert answers == [200] * 45
    assert num_checks == 1
