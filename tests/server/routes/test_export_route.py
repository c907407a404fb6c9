"""Everybody's votes leave by the page for the operator alone, and not at all without a token."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gac_app.server.host import HostSecrets, create_host
from gac_app.server.routes.operator import OperatorOnly, export_route
from gac_app.services.mirror.exports import Exports
from gac_app.storage import Store
from tests.server.conftest import HERE
from tests.server.fakes import host_with
from tests.services.battles.test_arena import Arena
from tests.services.conftest import house as house
from tests.services.house import ALICE, House
from tests.ui.planted import planted_arena


def export_client(store: Store) -> TestClient:
    return TestClient(host_with(export_route(Exports(store), OperatorOnly("secret"))), base_url=HERE)


def test_only_the_token_opens_it(house: House) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.version)
    client = export_client(arena.store)
    assert client.get("/export?token=secret").status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert client.get("/export?format=exe", headers=right).status_code == 400
    got = client.get("/export?format=csv", headers=right)
    assert got.headers["content-disposition"] == 'attachment; filename="gac-votes-csv.csv"'
    assert len(list(csv.reader(io.StringIO(got.text, newline="")))) == 2


@pytest.mark.parametrize(("token", "status"), [("", 404), ("secret", 200)])
def test_without_a_token_there_is_no_such_route(tmp_path: Path, token: str, status: int) -> None:
    planted = planted_arena(tmp_path)
    secrets = HostSecrets(operator=token)
    host = create_host(planted.runs, planted.runs.config, None, planted.arena, Exports(planted.store), secrets)
    client = TestClient(host, base_url=HERE)
    for route in ("/export", "/operator/kept-prefixes", "/operator", "/operator/overview"):
        assert client.get(route, headers={"Authorization": f"Bearer {token}"}).status_code == status
    planted.runs.close()


def test_what_cannot_be_written_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    store = house.store()
    client = export_client(store)
    got = client.get("/export?format=parquet", headers={"Authorization": "Bearer secret"})
    assert (got.status_code, "pip install pyarrow" in got.text) == (503, True)
    store.close()
