"""Everybody's votes leave by the page for the operator alone, and not at all without a token."""

from __future__ import annotations

import sys

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.server.export_route import export_route
from gac_app.services.exports import Exports
from tests.services.conftest import house as house
from tests.services.house import ALICE, House
from tests.services.test_arena import Arena


def test_only_the_token_opens_it(house: House) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.service.vote(ALICE, view.id, "left", view.ballot)
    host = FastAPI()
    host.include_router(export_route(Exports(arena.store, "secret")))
    client = TestClient(host)
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic secret"},
    ):
        assert client.get("/export", headers=headers).status_code == 401
    assert client.get("/export?token=secret").status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert client.get("/export?format=exe", headers=right).status_code == 400
    got = client.get("/export?format=csv", headers=right)
    assert got.headers["content-disposition"] == 'attachment; filename="gac-votes-csv.csv"'
    assert len(got.text.splitlines()) == 2


def test_without_a_token_it_is_not_open(house: House) -> None:
    store = house.store()
    assert not Exports(store).is_open
    client = TestClient(FastAPI(routes=export_route(Exports(store)).routes))
    assert client.get("/export", headers={"Authorization": "Bearer "}).status_code == 401
    store.close()


def test_what_cannot_be_written_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    store = house.store()
    client = TestClient(FastAPI(routes=export_route(Exports(store, "secret")).routes))
    got = client.get("/export?format=parquet", headers={"Authorization": "Bearer secret"})
    assert (got.status_code, "pip install pyarrow" in got.text) == (503, True)
    store.close()
