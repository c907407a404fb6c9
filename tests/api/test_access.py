"""Who may ask, how much, and what a queue that is full says."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from tests.api.site import HERE, Site, Sites, chat_body, refusal_of
from tests.fakes import SOON_S, FakeModel, Fault, config_of
from tests.services.house import House, until

KEY = {"name": "one", "sha256": hashlib.sha256(b"secret").hexdigest()}
OPEN = {"Authorization": "Bearer secret"}
PUBLIC: dict[str, Any] = {"public": True, "api": {"keys": [KEY]}}


@pytest.fixture
def hanging() -> list[FakeModel]:
    return [FakeModel("a", 1, fault=Fault("hang")), FakeModel("b", 2)]


@pytest.fixture
def busy(site: Sites, hanging: list[FakeModel]) -> Any:
    """Makes a site with `num` requests under way, which end with the test."""
    threads: list[threading.Thread] = []

    def make(num: int, headers: dict[str, str] | None = None, **fields: Any) -> Site:
        here = site(hanging, **fields)
        for _ in range(num):
            thread = threading.Thread(target=lambda: here.chat_with(headers or {}))
            thread.start()
            threads.append(thread)
        until(lambda: here.num_under_way == num)
        return here

    yield make
    hanging[0].released.set()
    for thread in threads:
        thread.join(SOON_S)


def test_a_public_host_needs_a_key(site: Sites) -> None:
    """Guesses are slowed as those of the operator's token are (`tests/server/routes/test_operator.py`)."""
    here = site(**PUBLIC)
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for answer in (here.chat_with(headers), here.client.get("/v1/models", headers=headers)):
            status, error = refusal_of(answer)
            assert (status, error["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
    guesses = [here.client.get("/v1/models", headers={"Authorization": f"Bearer {n}"}) for n in range(5)]
    assert [guess.status_code for guess in guesses] == [401] * 3 + [429] * 2
    assert here.chat_with(OPEN).status_code == 200


def test_a_key_has_its_requests_a_minute(site: Sites) -> None:
    here = site(public=True, api={"keys": [{**KEY, "requests_per_minute": 12}]})
    answers = [here.client.get("/v1/models", headers=OPEN) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert refusal_of(answers[-1])[1]["code"] == "rate_limit_exceeded"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 5


def test_a_key_has_its_runs_at_once(busy: Any) -> None:
    here = busy(1, OPEN, public=True, api={"keys": [{**KEY, "max_at_once": 1}]})
    answer = here.chat_with(OPEN)
    status, error = refusal_of(answer)
    assert (status, error["code"], answer.headers["retry-after"]) == (429, "rate_limit_exceeded", "5")


def test_a_full_queue_says_so(busy: Any) -> None:
    here = busy(2, server={"max_running": 1, "max_waiting": 1})
    answer = here.chat()
    status, error = refusal_of(answer)
    assert (status, error["code"], answer.headers["retry-after"]) == (503, "queue_full", "5")


@pytest.mark.slow
@pytest.mark.parametrize("is_open", [True, False])
def test_the_page_s_host_has_an_api_unless_it_is_closed(house: House, is_open: bool) -> None:
    from gac_app.server.host import create_host

    service = house.service(api={"is_open": is_open})
    with TestClient(create_host(service, service.config), base_url=HERE) as client:
        models = client.get("/v1/models")
        assert (models.status_code == 200 and "gac" in models.text) is is_open
        assert client.get("/healthz").status_code == 200


def test_two_keys_have_two_names() -> None:
    with pytest.raises(ValidationError, match="same name"):
        config_of(["a"], api={"keys": [KEY, {**KEY, "sha256": "0" * 64}]})


def test_the_api_is_under_the_proxy_s_path(site: Sites) -> None:
    here = site(server={"trusted_proxies": ["10.0.0.9"]})
    client = TestClient(here.host, base_url=HERE, client=("10.0.0.9", 1))
    headers = {"X-Forwarded-Prefix": "/gac", "X-Forwarded-For": "192.0.2.7"}
    assert client.post("/v1/chat/completions", json=chat_body(), headers=headers).status_code == 200
    assert client.get("/v1/models/gac/gate", headers=headers).json()["id"] == "gac/gate"
    status, error = refusal_of(client.post("/v1/chat/completions", json=chat_body(messages=[]), headers=headers))
    assert (status, error["param"]) == (400, "messages")
    too_long = chat_body(messages=[{"role": "user", "content": "x" * 5000}])
    assert refusal_of(client.post("/v1/chat/completions", json=too_long, headers=headers))[1]["param"] == "messages"
    assert client.get("/v1/openapi.json", headers=headers).status_code == 200
