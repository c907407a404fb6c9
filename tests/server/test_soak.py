"""Honest and hostile visitors of one host, and programs: nothing grows, every honest run ends.

`pytest -m long -s tests/server/test_soak.py` takes half an hour, or as long as `GAC_SOAK_MINUTES` says, at least one.
Of every run, `tests/services/runs/test_leaks.py` sees what stays.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sqlite3
import time
from collections import Counter
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.server.hostile import Hostile
from tests.server.site import Page, Visitor, child

pytestmark = [pytest.mark.process, pytest.mark.long]

MINUTES = float(os.environ.get("GAC_SOAK_MINUTES", "30"))
KINDS = ("refused_prompts", "long_sessions", "unheard_runs", "fresh_sessions", "many_keys", "one_event", "heard_runs")
NUM_HONEST = 6
MARKER = "soaked-marker"
MAX_GROWTH_MB = 50  # from the second third of the time to the last


def usage(pid: int) -> tuple[float, int, int]:
    """Resident memory in MB, threads, open handles of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory, threads = (int(status.split(key)[1].split()[0]) for key in ("VmRSS:", "Threads:"))
    return memory / 1024, threads, len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def ask(client: httpx.AsyncClient, num_lines: int) -> int:
    """The status of a program's chat: streamed, of which it reads so many lines, or whole (0)."""
    chat = {"model": "gac", "messages": [{"role": "user", "content": MARKER}], "stream": num_lines > 0}
    async with client.stream("POST", "/v1/chat/completions", json=chat) as answer:
        async for _ in answer.aiter_lines():
            num_lines -= 1
            if num_lines == 0:
                break
        return answer.status_code


def test_nothing_grows_and_every_honest_run_ends(tmp_path: Path) -> None:
    with child(tmp_path) as host:
        page = Page.of(host.url)
        until = time.monotonic() + 60 * MINUTES
        first_tokens: list[float] = []
        used: list[tuple[float, int, int]] = []
        answers: Counter[int] = Counter()

        async def honest(number: int) -> None:
            while time.monotonic() < until:
                async with Visitor(host.url, page, address=f"127.0.1.{number}") as visitor, visitor.heartbeat():
                    first_tokens.append(await visitor.first_token_s(MARKER))
                await asyncio.sleep(2)

        async def program(number: int) -> None:
            transport = httpx.AsyncHTTPTransport(local_address=f"127.0.3.{number}")
            async with httpx.AsyncClient(base_url=host.url, transport=transport, timeout=60) as client:
                for num_lines in itertools.cycle((0, 100_000, 3)):  # whole, streamed, and left
                    if time.monotonic() > until:
                        return
                    answers[await ask(client, num_lines)] += 1
                    await asyncio.sleep(0.2)

        async def hostile() -> None:
            while time.monotonic() < until:
                for kind in KINDS:
                    seconds = min(10.0, max(0.0, until - time.monotonic()))
                    await Hostile(host.url, page, kind, "127.0.2.1").attack(seconds=seconds, num_parallel=4)

        async def watch() -> None:
            while time.monotonic() < until:
                used.append(usage(host.process.pid))
                print(f"{used[-1][0]:.0f} MB, {used[-1][1]} threads, {used[-1][2]} handles, {len(first_tokens)} runs")
                await asyncio.sleep(min(60, 6 * MINUTES))

        async def all_of_them() -> None:
            numbers = range(1, NUM_HONEST + 1)
            await asyncio.gather(*map(honest, numbers), *map(program, numbers), hostile(), watch())

        asyncio.run(all_of_them())
        host.process.terminate()
        host.process.wait(15)
        log = host.log.read_text("utf-8", "replace")

    third = len(used) // 3
    memory, threads, handles = (
        median(use[i] for use in used[-third:]) - median(use[i] for use in used[third:-third]) for i in range(3)
    )
    print(f"{len(first_tokens)} honest runs; grown by {memory:+.0f} MB, {threads:+.0f} threads, {handles:+.0f} handles")
    assert memory < MAX_GROWTH_MB
    assert threads <= 10
    assert handles <= 10
    assert first_tokens
    assert answers[200]
    assert answers.keys() <= {200, 429, 503}
    assert MARKER not in log
    assert "Traceback" not in log
    assert not re.search(r"[0-9a-f]{64}", log)  # a visitor's key
    with sqlite3.connect(tmp_path / "runs") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        unfinished = database.execute("SELECT count(*) FROM run WHERE status = 'running'").fetchone()
    assert unfinished == (0,)
