"""The page's document comes from memory, whole, and never another address's or person's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Callers
from gac_app.server.page.page_document import MAX_KEPT, PATHS, PageDocument
from gac_app.ui.requests import ACCOUNT
from tests.server.conftest import HERE

FIRST = "<!-- first -->"
WORDS = "é word" * 20_000
FAULTS = {"broken": 500, "moved": 307, "missing": 404}


@pytest.fixture
def written() -> Counter[str]:
    return Counter()


@pytest.fixture
def client(written: Counter[str]) -> Iterator[TestClient]:
    host = FastAPI(middleware=[Middleware(PageDocument, callers=Callers(64), first=FIRST)])

    @host.get("/")
    @host.get("/config")
    def page(request: Request) -> HTMLResponse:
        written[request.headers["host"]] += 1
        if request.headers["host"] in FAULTS:
            return HTMLResponse("broken", FAULTS[request.headers["host"]])
        return HTMLResponse(f"<head>{request.url}{request.headers.get('account', '')}{WORDS}")

    @host.middleware("http")
    async def account(request: Request, call_next):  # type: ignore[no-untyped-def]
        if "account" in request.headers:
            request.scope.setdefault("state", {})[ACCOUNT] = request.headers["account"]
        return await call_next(request)

    with TestClient(host, base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_it_is_written_once_and_sent_whole(client: TestClient, written: Counter[str], path: str) -> None:
    for encoding in ("identity", "gzip, br", "br", "gzip"):
        answer = client.get(path, headers={"Accept-Encoding": encoding})
        assert answer.text == f"<head>{FIRST}{HERE}{path}{WORDS}"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert ("gzip" in encoding) == (answer.headers.get("content-encoding") == "gzip")
    assert written.total() == 2, "compressed, and not"


def test_a_runs_address_has_the_same_document(client: TestClient, written: Counter[str]) -> None:
    assert client.get("/?run=abc&deep_link=x").text == client.get("/").text == f"<head>{FIRST}{HERE}/{WORDS}"
    assert written.total() == 1


def test_each_address_has_its_own_and_few_are_kept(client: TestClient, written: Counter[str]) -> None:
    for number in [*range(MAX_KEPT), 0, MAX_KEPT, 0, 1]:
        assert client.get("/", headers={"Host": f"h{number}"}).text.endswith(f"http://h{number}/{WORDS}")
    assert (written["h0"], written["h1"]) == (1, 2)
    for name in ("host", "proto", "prefix"):
        client.get("/", headers={"Host": "h1", f"X-Forwarded-{name}": "other"})
    assert written["h1"] == 5, "as a proxy names it"


def test_whoever_is_signed_in_gets_a_fresh_one(client: TestClient, written: Counter[str]) -> None:
    for account in ("anna", "anna", ""):  # who comes next is not told of her
        assert client.get("/", headers={"account": account}).text == f"<head>{FIRST}{HERE}/{account}{WORDS}"
    assert written.total() == 3
    with pytest.raises(RefusedError):  # each is paid for
        [client.get("/", headers={"account": "somebody"}) for _ in range(1000)]


@pytest.mark.parametrize(("host", "status"), FAULTS.items())
def test_a_fault_is_not_kept(client: TestClient, written: Counter[str], host: str, status: int) -> None:
    assert [client.get("/", headers={"Host": host}).status_code for _ in range(2)] == [status, status]
    assert written.total() == 2
