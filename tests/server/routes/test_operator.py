"""The operator's token: who gets through, and what guessing costs; and the page behind it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from gac_app.server import middleware
from gac_app.server.routes.operator import OperatorOnly, operator_page
from gac_app.ui.scripts import scripts
from tests.server.conftest import HERE
from tests.server.fakes import host_with
from tests.services.battles.test_arena import Arena
from tests.services.conftest import house as house
from tests.services.house import ALICE, House
from tests.ui.planted_votes import plant_vote

RIGHT = [("Authorization", "Bearer secret")]


@pytest.fixture
def host() -> FastAPI:
    router = APIRouter(dependencies=[Depends(OperatorOnly("secret"))])
    router.add_api_route("/inside", lambda: "in")
    return host_with(router)


@pytest.fixture
def client(host: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(middleware, "LATE_S", 0.0)
    with TestClient(host, base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens_whatever_the_scheme_s_case(client: TestClient, scheme: str) -> None:
    assert client.get("/inside", headers={"Authorization": f"{scheme} secret"}).status_code == 200


WRONG = ("secret", "Bearer", "Bearer ", "Bearer wrong", "Bearer secret2", "Basic secret", b"Bearer s\xe9cret")
OTHERS = [[], *([("Authorization", one)] for one in WRONG), [*RIGHT, *RIGHT]]
OTHERS += [[*RIGHT, ("Authorization", "Bearer wrong")], [("Authorization", "Bearer wrong"), *RIGHT]]


@pytest.mark.parametrize("headers", OTHERS)
def test_nothing_else_opens(client: TestClient, headers: list[tuple[str, str]]) -> None:
    answer = client.get("/inside", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer  "])
def test_an_empty_token_makes_nobody_the_operator(value: str) -> None:
    router = APIRouter(dependencies=[Depends(OperatorOnly(""))])
    router.add_api_route("/inside", lambda: "in")
    answer = TestClient(host_with(router), base_url=HERE).get("/inside", headers={"Authorization": value})
    assert answer.status_code == 401


def test_wrong_tokens_are_slowed_for_their_address_alone(client: TestClient, host: FastAPI) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    guesses = []
    for _ in range(20):
        guesses.append(client.get("/inside", headers=wrong))
        assert client.get("/inside", headers=RIGHT).status_code == 200, "the operator is not locked out"
    assert [guess.status_code for guess in guesses] == [401] * 5 + [429] * 15
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 31
    assert TestClient(host, base_url=HERE, client=("10.0.0.9", 1)).get("/inside", headers=wrong).status_code == 401


SPAN = {"since": "2020-01-01T00:00", "before": "2099-01-01T00:00"}
DROPPED = {**SPAN, "contestant": "", "verdict": "dropped"}
CALLS = ("GET", "overview", None), ("POST", "verdict", DROPPED), ("POST", "controls", {"is_paused": True})


def client_over(arena: Arena) -> TestClient:
    return TestClient(host_with(operator_page(arena.service.operator, OperatorOnly("secret"))), base_url=HERE)


@pytest.fixture
def arena(house: House) -> Arena:
    arena = Arena(house, arena={"min_votes": 1})
    plant_vote(arena.store, "a", "b", "left", ALICE, client="school", flags=["fast"])
    return arena


def test_calls_want_the_token_and_answer_with_the_overview(arena: Arena) -> None:
    client = client_over(arena)
    for method, path, body in CALLS:
        answer = client.request(method, f"/operator/{path}", json=body)
        assert (answer.status_code, "school" in answer.text) == (401, False)
    assert arena.store.battles.verdicts() == {}
    arena.answered()
    for method, path, body in CALLS:
        answer = client.request(method, f"/operator/{path}", json=body, headers=RIGHT)
        assert (answer.status_code, answer.json()["num_votes"]) == (200, 1)
        assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["controls"]["is_paused"] is True
    assert set(arena.store.battles.verdicts().values()) == {"dropped"}


HOSTILE = [("verdict", body, 400) for body in (b"{}", b"[", b"[1]")]
HOSTILE += [("verdict", json.dumps({**DROPPED, "contestant": name}).encode(), 404) for name in ("none", {"a": 1}, None)]
HOSTILE += [("verdict", json.dumps({**DROPPED, field: {}}).encode(), 400) for field in ("verdict", "since", "before")]
HOSTILE += [("controls", b'{"battles_per_day": %s}' % number, 400) for number in (b"NaN", b"1e400")]
HOSTILE += [("controls", b'{"weights": {"a": Infinity}}', 400), ("controls", b" " * 100_001, 413)]
HOSTILE += [("controls", b'{"x":' * 5000 + b"1" + b"}" * 5000, 400)]


@pytest.mark.parametrize(("path", "body", "code"), HOSTILE)
def test_hostile_bodies_are_refused_in_a_sentence(arena: Arena, path: str, body: bytes, code: int) -> None:
    answer = client_over(arena).post(f"/operator/{path}", content=body, headers=RIGHT)
    assert answer.status_code == code
    assert answer.json()["error"]
    assert "Traceback" not in answer.text
    arena.answered()


def test_the_document_tells_nothing_and_loads_its_modules(arena: Arena) -> None:
    document = client_over(arena).get("/operator").text
    assert "school" not in document
    assert not any(mark in document for mark in ("<link", " src=", "@import", "url("))
    assert "--page: " in document, "the colours"
    assert document.count("<script") == document.count("</script>") == 2
    assert re.findall(r' from "(.*?)"', document) == [f"./scripts/{scripts().version}/js/operator/operator.js"]
