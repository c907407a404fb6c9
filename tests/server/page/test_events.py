"""Which of the page's events are admitted, on the real page over planted answers."""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.server import middleware
from gac_app.server.host import create_host
from gac_app.server.limits.callers import REQUESTS_BURST
from gac_app.services.runs.history import History
from tests.fakes import SOON_S, WAIT_S
from tests.server.conftest import HERE, an_address
from tests.server.site import API, Page, Tab
from tests.services.house import until
from tests.ui.planted import KEY, planted_service

SECRET = "a secret prompt"


@pytest.fixture
def client(host: FastAPI, entered: TestClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A new browser from an address of its own."""
    monkeypatch.setattr(middleware, "LATE_S", 0.0)
    client = TestClient(host, base_url=HERE, raise_server_exceptions=False, client=an_address())
    client.portal = entered.portal  # one event loop: Gradio's queue wakes up nobody in another
    return client


@pytest.fixture(scope="module")
def page(entered: TestClient) -> Page:
    return Page.from_config(entered.get("/config").json())


@pytest.fixture
def body(page: Page) -> dict[str, Any]:
    """Its session's hash is of the longest form."""
    session_hash = f"A-z_{secrets.token_hex(30)}"
    return {"data": [KEY, None, SECRET, *page.inputs[3:]], "fn_index": page.run, "session_hash": session_hash}


def states_of(host: FastAPI) -> dict[str, Any]:
    states: dict[str, Any] = host.routes[-1].app.state_holder.session_data  # type: ignore[attr-defined]
    return states


@pytest.mark.parametrize("session_hash", ["", "x" * 65, "a b", "a.b", "\ud800", None, 3, ["a"]])
@pytest.mark.parametrize("route", ["queue/join", "run/predict", "component_server", "cancel"])
def test_a_session_hash_of_another_form_goes_no_further(
    client: TestClient, host: FastAPI, body: dict[str, Any], route: str, session_hash: object
) -> None:
    before = len(states_of(host))
    sent = {**body, "session_hash": session_hash, "component_id": 1, "fn_name": "x", "event_id": "e"}
    size = {"data": []} if route in ("component_server", "cancel") else {}
    answer = client.post(f"{API}/{route}", content=json.dumps(sent | size))
    assert answer.status_code in (400, 413)
    assert answer.status_code == 413 or "reload the page" in answer.json()["detail"]
    assert len(states_of(host)) == before


NO_STREAMS = dict.fromkeys(
    ("queue/data?session_hash=x%20y", f"heartbeat/{'x' * 65}", "heartbeat/a%00b", "queue/data"), 400
)


@pytest.mark.parametrize(("path", "status"), [*NO_STREAMS.items(), ("queue/data?session_hash=unknown", 404)])
def test_a_stream_of_no_session_makes_none(client: TestClient, host: FastAPI, path: str, status: int) -> None:
    before = len(states_of(host))
    assert client.get(f"{API}/{path}").status_code == status
    assert len(states_of(host)) == before


@pytest.mark.parametrize("text", ['{"data": [NaN]}', "null", "", "[" * 100_000])
@pytest.mark.parametrize("route", ["queue/join", "run/predict", "component_server", "cancel"])
def test_what_is_no_proper_json_is_a_clear_400(client: TestClient, route: str, text: str) -> None:
    answer = client.post(f"{API}/{route}", content=text)
    assert answer.status_code in (400, 413)
    assert answer.json()["detail"]


def test_half_a_surrogate_pair_is_replaced_and_answered(client: TestClient, body: dict[str, Any]) -> None:
    body["data"][2] = "half \ud83d of it"
    headers = {"Content-Type": "application/json", "Origin": HERE}
    assert client.post(f"{API}/queue/join", content=json.dumps(body), headers=headers).status_code == 200
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": body["session_hash"]}) as answer:
        said = "".join(answer.iter_lines())
    assert "half \ufffd of it" in said
    assert said.count("process_generating") >= 2
    assert '"success":true' in said


@pytest.mark.parametrize("index", [-1, 10**6, None, "0", True, 1.5, [0]])
@pytest.mark.parametrize("route", ["queue/join", "run/predict"])
def test_an_event_that_there_is_not_is_404_and_not_logged(
    client: TestClient, body: dict[str, Any], route: str, index: object, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert client.post(f"{API}/{route}", json={**body, "fn_index": index}).status_code == 404
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_too_few_inputs_are_a_422_without_a_trace(
    client: TestClient, body: dict[str, Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = client.post(f"{API}/queue/join", json={**body, "data": body["data"][:3]})
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert client.post(f"{API}/queue/join", json={**body, "data": {"a": SECRET}}).status_code == 422
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_events_go_the_way_that_the_page_sends_them(client: TestClient, page: Page, body: dict[str, Any]) -> None:
    quick = {**body, "fn_index": page.quick()["id"], "data": []}
    assert client.post(f"{API}/run/predict", json=quick).status_code == 200
    assert client.post(f"{API}/queue/join", json=quick).status_code == 404
    assert client.post(f"{API}/run/predict", json=body).status_code == 404


@pytest.mark.parametrize(
    "call", [{"component_id": 10**6}, {"fn_name": "__init__"}, {"fn_name": "inspect"}, {"component_id": "1"}]
)
def test_a_function_that_there_is_not_is_404(client: TestClient, call: dict[str, Any]) -> None:
    sent = {"fn_name": "inspect_step", "data": {"key": KEY}, "session_hash": "abc"}
    sent["component_id"] = Tab(client).parts["gac-board"]
    assert "error" in client.post(f"{API}/component_server", json=sent).json()
    assert client.post(f"{API}/component_server", json=sent | call).status_code == 404


def test_a_session_is_for_the_browser_that_began_it(client: TestClient, host: FastAPI, body: dict[str, Any]) -> None:
    client.get("/")
    session = {"session_hash": body["session_hash"]}
    assert client.post(f"{API}/queue/join", json=body).status_code == 200
    other = TestClient(host, base_url=HERE, client=("10.0.0.7", 1))
    for thief in (other, TestClient(host, base_url=HERE, client=("10.0.0.8", 1))):
        assert thief.get(f"{API}/queue/data", params=session).status_code == 403
        assert thief.post(f"{API}/queue/join", json=body).status_code == 403
        assert thief.post(f"{API}/cancel", json={**session, "event_id": "x", "fn_index": 0}).status_code == 403
        assert thief.get(f"{API}/heartbeat/{body['session_hash']}").status_code == 403
        other.get("/")  # with a cookie of its own
    with client.stream("GET", f"{API}/queue/data", params=session) as answer:
        assert any("process_completed" in line for line in answer.iter_lines())


def test_a_browser_gets_one_cookie_with_the_page(client: TestClient) -> None:
    first = client.get("/").headers["set-cookie"]
    assert "HttpOnly" in first
    assert "SameSite=Lax" in first
    assert "set-cookie" not in client.get("/").headers
    assert "set-cookie" not in client.get("/config").headers
    client.cookies.clear()
    assert "set-cookie" in client.get("/", headers={"Cookie": "gac_browser=forged; a=b"}).headers


def test_a_visitor_that_never_stops_is_held_up_alone(
    client: TestClient, host: FastAPI, page: Page, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No allowance grows: on a busy machine the requests come slowly enough to be admitted for ever.
    callers, now = host.state.admission.callers, time.monotonic()
    for allowance in (callers._of_visitor, callers._of_client, callers._newcomers):
        monkeypatch.setattr(allowance, "_clock", lambda: now)
    quick = {**body, "fn_index": page.quick()["id"], "data": []}
    client.get("/")
    codes = [client.post(f"{API}/run/predict", json=quick).status_code for _ in range(int(REQUESTS_BURST) + 2)]
    num_admitted = codes.count(200)
    assert codes == [200] * num_admitted + [429] * (len(codes) - num_admitted)
    assert 0.9 * REQUESTS_BURST < num_admitted <= REQUESTS_BURST, "a body counts too"
    neighbour = TestClient(host, base_url=HERE, client=client._transport.client)  # type: ignore[attr-defined]
    neighbour.get("/")
    assert neighbour.post(f"{API}/run/predict", json={**quick, "session_hash": "other"}).status_code == 200


def test_sessions_are_few_and_those_without_a_stream_make_room(client: TestClient, host: FastAPI, page: Page) -> None:
    client.get("/")
    before = len(states_of(host))
    quick = {"fn_index": page.quick()["id"], "data": []}
    codes = [
        client.post(f"{API}/run/predict", json={**quick, "session_hash": f"few{number}"}).status_code
        for number in range(60)
    ]
    assert set(codes) == {200}
    assert len(states_of(host)) - before <= 16


def test_nothing_of_an_event_stays_with_its_session(client: TestClient, host: FastAPI, body: dict[str, Any]) -> None:
    assert client.post(f"{API}/queue/join", json=body).status_code == 200
    with client.stream("GET", f"{API}/queue/data", params={"session_hash": body["session_hash"]}) as answer:
        list(answer.iter_lines())
    state = states_of(host)[body["session_hash"]]
    assert not state.config_values
    assert SECRET not in repr(state.state_data)
    queue = host.state.admission.page._queue
    until(lambda: not queue.event_ids_to_events, "for what is forgotten after the last line")
    assert len(queue.event_analytics) <= 1
    assert queue.cached_event_analytics_summary == {"functions": {}}


def test_nothing_is_kept_of_a_session_that_is_dropped(host: FastAPI) -> None:
    page = host.state.admission.page
    kept = [
        *(page._app.state_holder.session_data, page._app.state_holder.time_last_used),
        *(page._queue.pending_messages_per_session, page._queue.pending_event_ids_session),
        *(page._blocks.pending_streams, page._blocks.pending_diff_streams),
    ]
    for one in kept:
        one["gone"] = {}
    page.forget("gone")
    page.forget("never there")
    assert not any("gone" in one for one in kept)


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Gradio-Server"])
def test_a_stranger_cannot_say_what_the_pages_address_is(client: TestClient, header: str) -> None:
    answer = client.get("/config", headers={header: "evil.example" if "Host" in header else "https://evil.example"})
    assert answer.json()["root"] == HERE
    assert "evil" not in answer.text
    assert "evil" not in client.get("/", headers={header: "http://evil.example"}).text


def test_a_trusted_proxy_says_who_asks_and_under_which_address(tmp_path: Path) -> None:
    service = planted_service(tmp_path, trusted_proxies=("10.0.0.0/8",))  # type: ignore[arg-type]
    host = create_host(service, service.config)
    headers = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "page.example"}
    proxied = TestClient(host, base_url=HERE, client=("10.1.1.1", 1), headers=headers)
    assert proxied.get("/config").json()["root"] == "https://page.example"
    assert "SameSite=None; Secure; Partitioned" in proxied.get("/").headers["set-cookie"]
    evil = {"X-Gradio-Server": "https://evil.example"}
    assert "evil" not in TestClient(host, base_url=HERE, client=("10.1.1.1", 1)).get("/config", headers=evil).text
    service.close()


def test_an_untrusted_proxy_is_mentioned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = planted_service(tmp_path)
    client = TestClient(create_host(service, service.config), base_url=HERE)
    with caplog.at_level(logging.WARNING, "gac_app"):
        for _ in range(3):
            client.get("/healthz", headers={"X-Forwarded-For": "192.0.2.1"})
    assert caplog.text.count("trusted_proxies") == 1
    assert "192.0.2.1" not in caplog.text
    service.close()


def test_a_call_s_reply_is_made_json_in_its_own_thread(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI would go through it on the event loop, which takes a tenth of a second for a long one."""
    tab = Tab(client)
    monkeypatch.setattr("fastapi.routing.jsonable_encoder", None)
    assert tab.conversations() == []


def test_calls_of_an_address_leave_threads_to_others(
    client: TestClient, host: FastAPI, entered: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed, begun = threading.Event(), list[object]()

    def wait(*asked: object) -> list[object]:
        begun.append(asked)
        freed.wait(WAIT_S)
        return []

    monkeypatch.setattr(History, "conversations", wait)
    neighbour = TestClient(host, base_url=HERE, client=an_address())
    neighbour.portal = entered.portal
    tabs = Tab(client), Tab(neighbour)
    with ThreadPoolExecutor(50) as pool, ExitStack() as stack:
        stack.callback(freed.set)
        for _ in range(45):
            pool.submit(tabs[0].conversations)
        until(lambda: len(begun) == 32, "for all that may begin")
        assert pool.submit(neighbour.get, "/readyz").result(SOON_S).status_code == 200
        assert len(begun) == 32
        pool.submit(tabs[1].conversations)
        until(lambda: len(begun) == 33, "for the neighbour's call, and no other", SOON_S)
        freed.set()
        until(lambda: len(begun) == 46, "for the others")
