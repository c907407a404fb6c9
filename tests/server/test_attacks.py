"""What attacks on a host in a process of its own cost others: `pytest -m long -s` takes minutes and shows it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.server.hostile import BODIES
from tests.server.site import ROOT, Child, Page, Visitor, child

pytestmark = [pytest.mark.process, pytest.mark.long]

NUM_HONEST = 20


async def honest(attacked: Child, page: Page, address: str = "", num: int = NUM_HONEST) -> list[float]:
    """Seconds to each visitor's first token; each has an address of its own, unless one is given."""

    async def one(number: int) -> float:
        async with Visitor(attacked.url, page, address=address or f"127.0.1.{number}") as visitor, visitor.heartbeat():
            return await visitor.first_token_s("honest")

    return list(await asyncio.gather(*(one(number) for number in range(1, num + 1))))


KINDS = ("unheard_runs", "heard_runs", "many_keys", "one_event", "slow_bodies", *BODIES)
ATTACKS = [(kind, "") for kind in KINDS] + [(kind, "127.0.0.1") for kind in KINDS[:2]]


@pytest.mark.parametrize(("kind", "honest_address"), ATTACKS)
def test_first_tokens_beside_a_hostile_client(tmp_path: Path, kind: str, honest_address: str) -> None:
    """What it costs others, compared with an ordinary neighbour, at other addresses or at its own."""

    async def measured() -> tuple[list[float], list[float]]:
        polling = asyncio.create_task(polls(attacked))
        first_s = await honest(attacked, page, honest_address)
        polling.cancel()
        return first_s, await polling

    def neighbour(kind: str) -> tuple[list[float], list[float]]:
        command = [sys.executable, "-m", "tests.server.hostile", attacked.url, kind, "60", "127.0.0.1"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as hostile:
            time.sleep(3)
            try:
                return asyncio.run(measured())
            finally:
                hostile.terminate()

    with child(tmp_path) as attacked:
        page = Page.of(attacked.url)
        asyncio.run(honest(attacked, page, honest_address))
        (calm, calm_polls), (first_s, polls_s) = neighbour("ordinary"), neighbour(kind)
    ratio = statistics.mean(first_s) / statistics.mean(calm)
    print(
        f"{kind}: first token {1000 * statistics.mean(calm):.0f} -> {1000 * statistics.mean(first_s):.0f} ms, ", end=""
    )
    for name, of in (("median", statistics.median), ("slowest", max)):
        print(f"{name} /healthz {1000 * of(calm_polls):.0f} -> {1000 * of(polls_s):.0f} ms", end="; ")
    print()
    assert ratio <= 1.5
    assert statistics.median(polls_s) < 0.1


async def polls(attacked: Child) -> list[float]:
    """Seconds that `/healthz` takes from another address, again and again until this is cancelled."""
    found: list[float] = []
    with contextlib.suppress(asyncio.CancelledError):
        transport = httpx.AsyncHTTPTransport(local_address="127.0.2.1")
        async with httpx.AsyncClient(base_url=attacked.url, transport=transport, timeout=60) as client:
            while True:
                start = time.monotonic()
                (await client.get("/healthz")).raise_for_status()
                found.append(time.monotonic() - start)
                await asyncio.sleep(0.02)
    return found
