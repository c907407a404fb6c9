"""Runs that nobody listens to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gac_app.server.host import create_host
from gac_app.services.runs import LiveRun, RunService
from tests.server.site import Page, Visitor, served
from tests.ui.planted import PlantedEnsemble, planted_service


@pytest.fixture
def service(tmp_path: Path) -> RunService:
    return planted_service(tmp_path, PlantedEnsemble(["word "] * 200, pause_s=0.05))


@pytest.fixture
def url(service: RunService) -> Iterator[str]:
    with served(create_host(service, service.config)) as url:
        yield url


async def seen(condition: Callable[[], object], within_s: float = 10.0) -> float:
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s
        await asyncio.sleep(0.02)
    return time.monotonic() - start


def runs_of(service: RunService) -> list[LiveRun]:
    return service._runs.all()


def test_a_run_without_a_listener_ends_soon_and_one_with_goes_on(service: RunService, url: str) -> None:
    async def check() -> None:
        page = Page.of(url)
        async with Visitor(url, page) as heard, Visitor(url, page) as unheard, heard.heartbeat():
            assert (await unheard.join("nobody listens")).status_code == 200
            await seen(lambda: runs_of(service))
            [lost] = runs_of(service)
            assert lost.client, "the queue knows where it comes from"
            assert (await heard.join("somebody listens")).status_code == 200
            messages = heard.messages()
            await anext(messages)
            await seen(lambda: len(runs_of(service)) == 2)
            assert await seen(lost.over.is_set) < 4
            kept = runs_of(service)[1]
            await asyncio.sleep(1)
            assert not kept.over.is_set()
            service.stop(heard.key, kept.id)
            async for _ in messages:
                pass

    asyncio.run(check())
    assert [run.status for run in runs_of(service)] == ["aborted", "aborted"]


def test_a_visitor_has_few_runs_at_a_time_and_others_notice_nothing(service: RunService, url: str) -> None:
    async def check() -> None:
        page = Page.of(url)
        async with Visitor(url, page) as greedy, Visitor(url, page) as other:
            answers = await asyncio.gather(*(greedy.join() for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200] * 4 + [429] * 4
            assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 429)
            assert (await other.join()).status_code == 200

    asyncio.run(check())
