"""Twelve browsers open long stored runs: the host answers, and others' runs go on.

`pytest -m long -s tests/server/test_long_runs.py` shows the figures for runs of 3 x 6,000 tokens.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from gac_app.decoding.trace.events import Candidate, MemberTrace, TokenEvent
from gac_app.storage import RunStatus, Store
from tests.server.site import API, Page, Visitor, child, together
from tests.storage.samples import answer, new_run, token_event

pytestmark = pytest.mark.process

NUM_BROWSERS = 12
KEY = "a" * 64
MEMBERS = ("Steady 1", "Steady 2")


def events_of(num_tokens: int, seed: int) -> list[TokenEvent]:
    """Steps of realistic size: for each member, and for both, the eight likeliest tokens with random probabilities."""
    drawn = random.Random(seed)

    def top() -> tuple[Candidate, ...]:
        return tuple(Candidate(drawn.randrange(100_000), drawn.randbytes(5), drawn.random()) for _ in range(8))

    events = []
    for position in range(num_tokens):
        event = token_event(f" word{drawn.randrange(10_000)}", position)
        members = tuple(MemberTrace(name, 0.5, drawn.random(), 1, top(), 1, 0.01) for name in MEMBERS)
        step = replace(event.step, prob=drawn.random(), top=top(), members=members, winner=MEMBERS[0])
        events.append(replace(event, step=step))
    return events


def plant(folder: Path, num_tokens: int) -> str:
    """Store a run of three long answers in the host's database; its id."""
    store = Store(f"sqlite:///{folder / 'runs'}")
    run = new_run(visitor_key=KEY, settings={}, member_names=MEMBERS)
    store.start_run(run)
    for seed, system in enumerate(("ensemble", *MEMBERS)):
        events = events_of(num_tokens, seed)
        said = "".join(event.text for event in events)
        store.save_answer(run.run_id, answer(said, system, events=events, num_tokens=num_tokens))
    store.finish_run(run.run_id, RunStatus.FINISHED).result()
    store.close()
    return run.run_id


class Opener(Visitor):
    """A browser that opens a run as the page's scripts do: its text, then its tokens piece by piece."""

    async def open(self, run_id: str) -> tuple[float, float, int]:
        """Seconds to the text, seconds to the last token, the number of tokens."""
        started = time.monotonic()
        board = next(c["id"] for c in self.page.config["components"] if c["props"].get("elem_id") == "gac-board")
        opens = next(d for d in self.page.config["dependencies"] if [board, "open"] in map(list, d["targets"]))
        event = {"fn_index": opens["id"], "data": [], "event_data": {"key": self.key, "run": run_id}}
        joined = await self.http.post(f"{API}/queue/join", json={**event, "session_hash": self.session})
        assert joined.status_code == 200, joined.text
        lines = await self._lines()
        shown_s = time.monotonic() - started
        facts = [json.loads(line) for line in lines if line.startswith("{")]
        counts = [sum(line.startswith(f"[{index},") for line in lines) for index in range(1 + len(MEMBERS))]
        for index, end in (fact["end"] for fact in facts if "end" in fact):
            while counts[index] < end["tokens"]:
                stream = facts[0]["run"]["streams"][index]
                data = {"key": self.key, "run": run_id, "stream": stream, "first": counts[index]}
                call = {"component_id": board, "fn_name": "read_tokens", "data": data, "session_hash": self.session}
                reply = (await self.http.post(f"{API}/component_server", json=call)).json()
                counts[index] += len(reply["tokens"])
        return shown_s, time.monotonic() - started, sum(counts)

    async def _lines(self) -> list[str]:
        async for message in self.messages():
            value = message.get("output", {}).get("data", [None])[0]
            if isinstance(value, str) and '{"done"' in value:
                return value.splitlines()
        raise AssertionError("the run was not shown")


def open_at_once(url: str, run_id: str, num_browsers: int) -> list[tuple[float, float, int]]:
    """What so many browsers find, each at an address of its own."""
    page = Page.of(url)

    async def opened(number: int) -> tuple[float, float, int]:
        async with Opener(url, page, address=f"127.0.1.{number}", key=KEY) as browser, browser.heartbeat():
            return await browser.open(run_id)

    async def all_of_them() -> list[tuple[float, float, int]]:
        return await together(*map(opened, range(1, num_browsers + 1)))

    return asyncio.run(all_of_them())


@pytest.fixture
def browsers() -> Iterator[ProcessPoolExecutor]:
    """A process of their own, so that what they do themselves delays no measurement."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as browsers:
        yield browsers


async def latencies(url: str, until: asyncio.Event) -> list[float]:
    """What `/healthz` took, asked again and again."""
    found = []
    async with httpx.AsyncClient(base_url=url, timeout=60, verify=False) as http:  # noqa: S501 (saves 0.1 s)
        while not until.is_set():
            started = time.monotonic()
            (await http.get("/healthz")).raise_for_status()
            found.append(time.monotonic() - started)
            await asyncio.sleep(0.02)
    return found


@pytest.mark.parametrize("num_tokens", [600, pytest.param(6000, marks=pytest.mark.long)])
def test_twelve_long_runs_are_opened_at_once(tmp_path: Path, browsers: ProcessPoolExecutor, num_tokens: int) -> None:
    run_id = plant(tmp_path, num_tokens)
    with child(tmp_path) as host:
        page = Page.of(host.url)
        browsers.submit(open_at_once, host.url, run_id, 1).result()  # as it begins, a host builds its routes

        async def first_token_s() -> float:
            async with Visitor(host.url, page, address="127.0.2.1") as visitor, visitor.heartbeat():
                return await visitor.first_token_s("honest")

        async def opened(num_browsers: int) -> list[tuple[float, float, int]]:
            return await asyncio.wrap_future(browsers.submit(open_at_once, host.url, run_id, num_browsers))

        async def measure() -> None:
            alone_s = statistics.median([await first_token_s() for _ in range(3)])
            [(shown_s, whole_s, _)] = await opened(1)
            print(f"one run of 3 x {num_tokens}: its text after {shown_s:.2f} s, all tokens after {whole_s:.2f} s")
            are_open = asyncio.Event()
            health = asyncio.create_task(latencies(host.url, are_open))
            honest = asyncio.create_task(first_token_s())
            found = await opened(NUM_BROWSERS)
            are_open.set()
            beside_s, worst_s = await honest, max(await health)
            print(
                f"{NUM_BROWSERS} at once: text after {max(one[0] for one in found):.2f} s, all tokens after "
                f"{max(one[1] for one in found):.2f} s; /healthz at most {worst_s:.3f} s; another's first token after "
                f"{beside_s:.2f} s, alone {alone_s:.2f} s"
            )
            assert {one[2] for one in found} == {3 * num_tokens}
            assert worst_s < 1.0  # on an idle machine 0.1

        asyncio.run(measure())
