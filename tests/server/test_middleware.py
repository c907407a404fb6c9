"""What the host lets in, on the real application with a page mounted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from gac_app.config import ServerConfig
from gac_app.server.middleware import ProxyGuard
from tests.server.conftest import HERE
from tests.server.fakes import host_with

JOIN = "/gradio_api/queue/join"


def test_the_page_is_served_with_security_headers(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "gradio" in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["content-security-policy"].endswith("; frame-ancestors 'self'")


def test_only_configured_sites_may_frame_the_page() -> None:
    host = host_with(framed_by=("https://huggingface.co", "https://*.hf.space"))
    policy = TestClient(host, base_url=HERE).get("/healthz").headers["content-security-policy"]
    assert policy.endswith("; frame-ancestors 'self' https://huggingface.co https://*.hf.space")


@pytest.mark.parametrize("site", ["*", "https://a.example; script-src *", "https://a.example https://b.example", ""])
def test_what_is_no_site_is_refused_for_framing(site: str) -> None:
    with pytest.raises(ValidationError, match="framed_by"):
        ServerConfig(framed_by=(site,))


def test_all_of_gradio_that_the_page_does_not_use_is_shut(client: TestClient) -> None:
    """Also what a later version of Gradio may add."""
    used = {"/", "/config", "/config/", "/static/{path:path}", "/assets/{path:path}", "/theme.css"}
    harmless = {"/favicon.ico", "/robots.txt", "/manifest.json", "/pwa_icon", "/pwa_icon/{size}"}
    mounted = client.app.routes[-1].app  # type: ignore[attr-defined]
    paths = {route.path for route in mounted.routes if hasattr(route, "path")}
    opened = {path for path in paths if client.get(path).status_code != 403}
    assert len(paths) > 15
    assert opened == used | harmless


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "evil.hf.space", "0x7f.1", ""])
def test_a_spoofed_host_is_refused(client: TestClient, name: str) -> None:
    for headers in ({"Host": name}, {"Host": name, "Origin": f"http://{name}"}):
        answer = client.get("/", headers=headers)
        assert answer.status_code == 400
        assert not _credentials(answer.headers)


FOREIGN = ["null", "file://", "x", "", "https://evil.example", "http://localhost:9999"]
FOREIGN += ["http://localhost.evil.example:7860"]


@pytest.mark.parametrize("origins", [*([one] for one in FOREIGN), [HERE, "https://evil.example"]])
def test_a_foreign_origin_is_refused_and_never_reflected(client: TestClient, origins: list[str]) -> None:
    headers = [("Access-Control-Request-Method", "POST"), *(("Origin", origin) for origin in origins)]
    for method, path in (("POST", JOIN), ("GET", "/config"), ("OPTIONS", JOIN), ("GET", "/")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == (400 if method == "OPTIONS" else 403)
        assert not _credentials(answer.headers)


def test_an_origin_that_fits_one_of_two_hosts_is_refused(client: TestClient) -> None:
    headers = [("Host", HERE.removeprefix("http://")), ("Host", "evil.example"), ("Origin", "http://evil.example")]
    assert client.get("/config", headers=headers).status_code == 403


@pytest.mark.parametrize("origin", [HERE, "HTTP://LOCALHOST:7860", "https://friend.example"])
def test_own_and_allowed_origins_pass(client: TestClient, origin: str) -> None:
    """An allowed one may read the answer, also a refusal, and send a key."""
    answer, is_friend = client.get("/config", headers={"Origin": origin}), "friend" in origin
    assert answer.status_code == 200
    assert "access-control-allow-credentials" not in answer.headers
    refused = client.post("/gradio_api/cancel", content=b"x" * 3000, headers={"Origin": origin})
    assert refused.status_code == 413
    for one in (answer, refused):
        assert one.headers.get("access-control-allow-origin") == (origin if is_friend else None)
    asked = "authorization,content-type,x-stainless-os"
    headers = {"Origin": origin, "Access-Control-Request-Headers": asked, "Access-Control-Request-Method": "POST"}
    answer = client.options("/v1/chat/completions", headers=headers)
    assert not is_friend or (answer.status_code, answer.headers["access-control-allow-headers"]) == (200, asked)


CLOSED = ["upload", "upload/", "upload?upload_id=1", "upload_progress", "file=/etc/passwd", "file/etc/passwd", "runs"]
CLOSED += ["proxy=https://example.com/", "%75pload", "stream/1", "vibe-edit", "run-history/connect"]


@pytest.mark.parametrize(("paths", "status"), [(CLOSED, 403), (["queue/%2e%2e/upload"], 400)])
def test_nothing_else_of_gradios_api_is_open(client: TestClient, paths: list[str], status: int) -> None:
    """However its path is written, and of older versions; `test_all_of_gradio...` has the other routes."""
    for path in paths:
        assert client.get(f"/gradio_api/{path}").status_code == status
        assert client.post(f"/gradio_api/{path}", files={"files": b"x" * 1000}).status_code == status
    for path in ("monitoring", "login", "upload", "file=/etc/passwd", "proxy=https://a.example/"):
        assert client.get(f"/{path}").status_code == 403


@pytest.mark.parametrize(
    "rest", ["..%2f..%2fetc/passwd", "%2e%2e/%2e%2e/app.py", "..%5c..%5cx", "a%00b", "/etc/passwd"]
)
def test_climbing_paths_are_refused(client: TestClient, rest: str) -> None:
    assert [client.get(f"/{folder}/{rest}").status_code for folder in ("static", "assets")] == [400, 400]


def _credentials(headers: Iterable[str]) -> set[str]:
    return {"access-control-allow-origin", "access-control-allow-credentials"}.intersection(headers)


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/demo/healthz", 404), ("/demo/upload", 404)])
def test_a_prefix_is_taken_off_by_the_proxy_alone(path: str, status: int) -> None:
    host = host_with(trusted_proxies=("testclient",))
    assert TestClient(host, base_url=HERE).get(path, headers={"X-Forwarded-Prefix": "/demo"}).status_code == status


@pytest.mark.parametrize("prefix", ["/../demo", "//evil.example", "/demo?x", "demo", '/"><script>', "/d\u00e9mo"])
def test_what_is_no_prefix_is_ignored(prefix: str) -> None:
    found: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope["root_path"])

    scope = {"type": "http", "path": "/", "client": ("10.0.0.1", 1), "scheme": "http"}
    for name in (prefix, "/demo/"):
        headers = [(b"x-forwarded-prefix", name.encode("latin-1"))]
        asyncio.run(ProxyGuard(app, ("10.0.0.1",))({**scope, "headers": headers}, None, None))  # type: ignore[arg-type]
    assert found == ["", "/demo"]
