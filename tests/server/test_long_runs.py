"""Twelve browsers open long stored runs: the host answers, and others' runs go on.

`pytest -m long -s tests/server/test_long_runs.py` shows the figures for runs of 3 x 6,000 tokens.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gac_app.decoding.trace.events import Candidate, MemberTrace, TokenEvent
from gac_app.storage import RunStatus, Store
from tests.server.site import API, Page, Visitor, child
from tests.storage.samples import answer, new_run, token_event

pytestmark = pytest.mark.process

NUM_BROWSERS = 12
KEY = "a" * 64
MEMBERS = ("Steady 1", "Steady 2")
NUM_TOKENS = [600, pytest.param(6000, marks=pytest.mark.long)]


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

    async def open(self, run_id: str) -> tuple[float, float, list[list[Any]]]:
        """Seconds to the text, seconds to the last token, the lines of tokens."""
        started = time.monotonic()
        board = next(c["id"] for c in self.page.config["components"] if c["props"].get("elem_id") == "gac-board")
        opens = next(d for d in self.page.config["dependencies"] if [board, "open"] in map(list, d["targets"]))
        event = {"fn_index": opens["id"], "data": [], "event_data": {"key": self.key, "run": run_id}}
        joined = await self.http.post(f"{API}/queue/join", json={**event, "session_hash": self.session})
        assert joined.status_code == 200, joined.text
        lines = await self._lines()
        shown_s = time.monotonic() - started
        tokens = [line for line in lines if isinstance(line, list)]
        ends = {line["end"][0]: line["end"][1]["tokens"] for line in lines if isinstance(line, dict) and "end" in line}
        names = lines[0]["run"]["streams"]
        for index, num_tokens in ends.items():
            while (first := sum(line[0] == index for line in tokens)) < num_tokens:
                data = {"key": self.key, "run": run_id, "stream": names[index], "first": first}
                call = {"component_id": board, "fn_name": "read_tokens", "data": data, "session_hash": self.session}
                reply = (await self.http.post(f"{API}/component_server", json=call)).json()
                tokens += [[index, *token] for token in reply["tokens"]]
        return shown_s, time.monotonic() - started, tokens

    async def _lines(self) -> list[Any]:
        async for message in self.messages():
            value = message.get("output", {}).get("data", [None])[0]
            if isinstance(value, str) and '{"done"' in value:
                return [json.loads(line) for line in value.splitlines()]
        raise AssertionError("the run was not shown")


@pytest.fixture(params=NUM_TOKENS)
def num_tokens(request: pytest.FixtureRequest) -> int:
    return int(request.param)


async def latencies(url: str, until: asyncio.Event) -> list[float]:
    """What `/healthz` took, asked again and again."""
    found = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        while not until.is_set():
            started = time.monotonic()
            (await http.get("/healthz")).raise_for_status()
            found.append(time.monotonic() - started)
            await asyncio.sleep(0.02)
    return found


def test_twelve_long_runs_are_opened_at_once(tmp_path: Path, num_tokens: int) -> None:
    run_id = plant(tmp_path, num_tokens)
    with child(tmp_path) as host:
        page = Page.of(host.url)

        async def opened(number: int) -> tuple[float, float, list[list[Any]]]:
            async with Opener(host.url, page, address=f"127.0.1.{number}", key=KEY) as browser, browser.heartbeat():
                return await browser.open(run_id)

        async def first_token_s() -> float:
            async with Visitor(host.url, page, address="127.0.2.1") as visitor, visitor.heartbeat():
                return await visitor.first_token_s("honest")

        async def measure() -> None:
            await first_token_s()
            alone_s = statistics.median([await first_token_s() for _ in range(3)])
            shown_s, whole_s, tokens = await opened(NUM_BROWSERS + 1)
            assert len(tokens) == 3 * num_tokens
            print(f"one run of 3 x {num_tokens}: its text after {shown_s:.2f} s, all tokens after {whole_s:.2f} s")
            are_open = asyncio.Event()
            health = asyncio.create_task(latencies(host.url, are_open))
            honest = asyncio.create_task(first_token_s())
            found = await asyncio.gather(*(opened(number) for number in range(NUM_BROWSERS)))
            beside_s = await honest
            are_open.set()
            worst_s = max(await health)
            print(
                f"{NUM_BROWSERS} at once: text after {max(one[0] for one in found):.2f} s, all tokens after "
                f"{max(one[1] for one in found):.2f} s; /healthz at most {worst_s:.3f} s; another's first token after "
                f"{beside_s:.2f} s, alone {alone_s:.2f} s"
            )
            assert {len(one[2]) for one in found} == {3 * num_tokens}
            assert worst_s < 1.0  # on an idle machine 0.1

        asyncio.run(measure())
