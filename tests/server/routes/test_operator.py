"""The operator's token: who gets through, and what guessing costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient

from gac_app.server import middleware
from gac_app.server.routes.operator import OperatorOnly
from tests.server.conftest import HERE
from tests.server.fakes import host_with

RIGHT = [("Authorization", "Bearer secret")]


@pytest.fixture
def host() -> FastAPI:
    router = APIRouter(dependencies=[Depends(OperatorOnly("secret"))])
    router.add_api_route("/", lambda: "in")
    return host_with(router)


@pytest.fixture
def client(host: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(middleware, "LATE_S", 0.0)
    with TestClient(host, base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_token_opens_whatever_the_scheme_s_case(client: TestClient, scheme: str) -> None:
    assert client.get("/", headers={"Authorization": f"{scheme} secret"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "secret")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer secret2")],
        [("Authorization", "Basic secret")],
        [("Authorization", b"Bearer s\xe9cret")],
        [*RIGHT, ("Authorization", "Bearer wrong")],
        [("Authorization", "Bearer wrong"), *RIGHT],
        [*RIGHT, *RIGHT],
    ],
)
def test_nothing_else_opens(client: TestClient, headers: list[tuple[str, str]]) -> None:
    answer = client.get("/", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_wrong_tokens_are_slowed_for_their_address_alone(client: TestClient, host: FastAPI) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    guesses = [client.get("/", headers=wrong) for _ in range(20)]
    assert [guess.status_code for guess in guesses] == [401] * 5 + [429] * 15
    assert 1 <= int(guesses[-1].headers["retry-after"]) <= 31
    assert TestClient(host, base_url=HERE, client=("10.0.0.9", 1)).get("/", headers=wrong).status_code == 401


def test_wrong_tokens_do_not_lock_the_operator_out(client: TestClient) -> None:
    for _ in range(20):
        client.get("/", headers={"Authorization": "Bearer wrong"})
        assert client.get("/", headers=RIGHT).status_code == 200


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(ValueError, match="nobody"):
        OperatorOnly("")
