"""How long single callbacks keep the event loops of hosts, which meanwhile answer nobody."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

anyio.run(anyio.sleep, 0)  # loads its back end, which takes 50 ms, so that the loop of no test does
MOST_S = 0.05
_run = asyncio.Handle._run


@contextmanager
def watched_loops(most_s: float = MOST_S) -> Iterator[list[str]]:
    """The callbacks that took longer than `most_s`, in any thread but this one.

    What counts is the thread's own time on a core, without collecting garbage, so that a busy machine is no failure.
    """
    slow, here, collecting = list[str](), threading.current_thread(), threading.local()

    def timed(handle: asyncio.Handle) -> None:
        collecting.s, before = 0.0, time.thread_time()
        _run(handle)
        took_s = time.thread_time() - before - collecting.s
        if took_s > most_s and threading.current_thread() is not here:
            slow.append(f"{1000 * took_s:.0f} ms: {handle!r}")

    def note(phase: str, _: object) -> None:
        collecting.s = getattr(collecting, "s", 0.0) + time.thread_time() * (1 if phase == "stop" else -1)

    gc.callbacks.append(note)
    asyncio.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield slow
    finally:
        asyncio.Handle._run = _run  # type: ignore[method-assign]
        gc.callbacks.remove(note)


@pytest.fixture(autouse=True)
def loops_are_free() -> Iterator[None]:
    """Fails a test whose host has a handler that keeps its event loop, also at its first and slowest call."""
    with watched_loops(2 * MOST_S) as slow:
        yield
    assert not slow, slow
