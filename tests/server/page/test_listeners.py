"""Runs that nobody listens to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from gac_app.server.host import create_host
from gac_app.server.page import events
from gac_app.services.runs.runs import LiveRun, RunService
from tests.fakes import WAIT_S
from tests.server.site import API, Page, Visitor, served
from tests.ui.planted import PlantedEnsemble, planted_service

pytestmark = pytest.mark.anyio


@pytest.fixture
def service(tmp_path: Path) -> RunService:
    return planted_service(tmp_path, PlantedEnsemble(["word "] * 200, pause_s=0.05))


@pytest.fixture
def host(service: RunService) -> FastAPI:
    return create_host(service, service.config)


@pytest.fixture
def url(host: FastAPI) -> Iterator[str]:
    with served(host) as url:
        yield url


async def seen(condition: Callable[[], object]) -> None:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < WAIT_S
        await asyncio.sleep(0.02)


def runs_of(service: RunService) -> list[LiveRun]:
    return service._runs.all()


@pytest.mark.slow
async def test_only_a_run_with_a_listener_is_begun(
    service: RunService, host: FastAPI, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_LISTENER_S", WAIT_S)
    page = Page.of(url)
    async with Visitor(url, page) as heard, Visitor(url, page) as unheard, heard.heartbeat():
        assert (await unheard.join("nobody listens")).status_code == 200
        assert (await heard.join("somebody listens")).status_code == 200
        messages = heard.messages()
        await anext(messages)
        await seen(lambda: runs_of(service))
        monkeypatch.setattr(events, "FIRST_LISTENER_S", 0.0)
        await seen(lambda: len(host.state.admission.page.events()) == 1)
        [kept] = runs_of(service)
        assert kept.prompt == "somebody listens"
        assert kept.client, "the queue knows where it comes from"
        assert not kept.over.is_set()
        await messages.aclose()
        await seen(kept.over.is_set)
        assert kept.status == "aborted"


@pytest.mark.slow
async def test_who_listens_late_does_not_wait_forever(host: FastAPI, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slowly(session: object) -> bool:
        await asyncio.sleep(3600)
        return False

    monkeypatch.setattr(events, "FIRST_LISTENER_S", 0.5)
    monkeypatch.setattr(events, "has_listener", slowly)  # so that the sweeper is the sooner one
    async with Visitor(url, Page.of(url)) as late:
        assert (await late.join("nobody listens yet")).status_code == 200
        await seen(lambda: not host.state.admission.page.has_stream(late.session))
        answer = await late.http.get("/gradio_api/queue/data", params={"session_hash": late.session}, timeout=WAIT_S)
        assert answer.status_code == 404


@pytest.mark.slow
async def test_a_slow_phone_keeps_its_run(service: RunService, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ABANDONED_S", 0.1)
    monkeypatch.setattr(events, "SWEEP_S", 0.05)
    swept, sweep_once = list[int](), events.Admission._sweep_once

    async def noted(self: events.Admission) -> None:
        await sweep_once(self)
        swept.append(1)

    monkeypatch.setattr(events.Admission, "_sweep_once", noted)
    async with Visitor(url, Page.of(url)) as late:
        assert (await late.join("the stream comes late")).status_code == 200
        await seen(lambda: len(swept) > 12)  # many times the time after which a run without its listener ends
        assert runs_of(service) == [], "nothing is computed before somebody listens"
        messages = late.messages()
        await anext(messages)
        await seen(lambda: runs_of(service))
        await messages.aclose()
        await seen(runs_of(service)[0].over.is_set)


@pytest.mark.slow
async def test_what_nobody_hears_makes_room(service: RunService, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "ABANDONED_S", WAIT_S)
    monkeypatch.setattr(events, "FIRST_LISTENER_S", WAIT_S)
    async with Visitor(url, Page.of(url)) as visitor:
        sessions = []
        for number in range(4):
            visitor.session = f"unheard{number}"
            sessions.append(visitor.session)
            assert (await visitor.join(f"unheard {number}")).status_code == 200
        visitor.session = "heard"
        assert (await visitor.join("too soon")).status_code == 429
        monkeypatch.setattr(events, "ABANDONED_S", 0.0)
        assert (await visitor.join("heard")).status_code == 200
        messages = visitor.messages()
        await anext(messages)
        await seen(lambda: runs_of(service))
        for session in sessions:
            answer = visitor.http.stream("GET", f"{API}/queue/data", params={"session_hash": session})
            async with answer as stream:
                assert stream.status_code == (404 if session == sessions[0] else 200), "the oldest made room"
        await messages.aclose()


async def test_a_visitor_has_few_runs_at_a_time(service: RunService, url: str) -> None:
    page = Page.of(url)
    async with Visitor(url, page) as greedy, Visitor(url, page) as other:
        answers = await asyncio.gather(*(greedy.join() for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 4
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
        assert (await other.join()).status_code == 200


async def test_a_reply_does_not_overtake_the_end_of_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradio's script would then take the ended stream for one that goes on, and open none."""
    monkeypatch.setattr(events, "CLOSING_S", 2.0)
    service = planted_service(tmp_path, PlantedEnsemble())
    with served(create_host(service, service.config)) as url:
        async with Visitor(url, Page.of(url)) as visitor:
            await visitor.first_token_s()
            start = time.monotonic()
            assert (await visitor.join()).status_code == 200
            assert time.monotonic() - start > 1.5
            assert [message["msg"] async for message in visitor.messages()][-1] == "close_stream"
