"""Runs that nobody listens to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from gac_app.server import event_door
from gac_app.server.host import create_host
from gac_app.services.runs import LiveRun, RunService
from tests.fakes import WAIT_S
from tests.server.site import Page, Visitor, served
from tests.ui.planted import PlantedEnsemble, planted_service


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


async def seen(condition: Callable[[], object], within_s: float = WAIT_S) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s
        await asyncio.sleep(0.02)
    return time.monotonic() - start


def runs_of(service: RunService) -> list[LiveRun]:
    return service._runs.all()


@pytest.mark.slow
def test_only_a_run_with_a_listener_is_begun(service: RunService, host: FastAPI, url: str) -> None:
    async def check() -> None:
        page = Page.of(url)
        async with Visitor(url, page) as heard, Visitor(url, page) as unheard, heard.heartbeat():
            assert (await unheard.join("nobody listens")).status_code == 200
            assert (await heard.join("somebody listens")).status_code == 200
            messages = heard.messages()
            await anext(messages)
            await seen(lambda: runs_of(service))
            await seen(lambda: len(host.state.doorkeeper.page.events()) == 1)
            [kept] = runs_of(service)
            assert kept.prompt == "somebody listens"
            assert kept.client, "the queue knows where it comes from"
            assert not kept.over.is_set()
            await messages.aclose()
            await seen(kept.over.is_set)
            assert kept.status == "aborted"

    asyncio.run(check())


@pytest.mark.slow
def test_whoever_listens_too_late_does_not_wait_for_ever(
    host: FastAPI, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slowly(session: object) -> bool:
        await asyncio.sleep(3600)
        return False

    monkeypatch.setattr(event_door, "is_heard", slowly)  # so that the sweeper is the sooner one

    async def check() -> None:
        async with Visitor(url, Page.of(url)) as late:
            assert (await late.join("nobody listens yet")).status_code == 200
            await seen(lambda: not host.state.doorkeeper.page.has_stream(late.session))
            answer = await late.http.get(
                "/gradio_api/queue/data", params={"session_hash": late.session}, timeout=WAIT_S
            )
            assert answer.status_code == 404

    asyncio.run(check())


def test_a_visitor_has_few_runs_at_a_time(service: RunService, url: str) -> None:
    async def check() -> None:
        page = Page.of(url)
        async with Visitor(url, page) as greedy, Visitor(url, page) as other:
            answers = await asyncio.gather(*(greedy.join() for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 4
            assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
            assert (await other.join()).status_code == 200

    asyncio.run(check())
