"""Behind a proxy that shows the host under a path."""

from __future__ import annotations

from collections.abc import Callable

from fastapi.testclient import TestClient

from tests.api.site import HERE, Site, chat_body, refusal_of


def test_the_api_is_under_the_proxy_s_path(site: Callable[..., Site]) -> None:
    here = site(server={"trusted_proxies": ["10.0.0.9"]})
    client = TestClient(here.host, base_url=HERE, client=("10.0.0.9", 1))
    headers = {"X-Forwarded-Prefix": "/gac", "X-Forwarded-For": "192.0.2.7"}
    answer = client.post("/v1/chat/completions", json=chat_body(), headers=headers)
    assert answer.status_code == 200
    assert client.get("/v1/models/gac/gate", headers=headers).json()["id"] == "gac/gate"
    status, error = refusal_of(client.post("/v1/chat/completions", json=chat_body(messages=[]), headers=headers))
    assert (status, error["param"]) == (400, "messages")
    too_long = chat_body(messages=[{"role": "user", "content": "x" * 5000}])
    assert refusal_of(client.post("/v1/chat/completions", json=too_long, headers=headers))[1]["param"] == "messages"
    assert client.get("/v1/openapi.json", headers=headers).status_code == 200
