"""Starts what a page follows, so that nothing goes on that no page follows; tells the event loop of its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, suppress
from typing import TypeVar

from gac_app.services.runs.live_run import LiveRun
from gac_app.ui.requests import Threads

T = TypeVar("T")


@asynccontextmanager
async def followed(
    threads: Threads, start: Callable[[], T], follow: Callable[[T], AbstractContextManager[None]]
) -> AsyncIterator[T]:
    """What `start` gives, followed until the block ends; the block also ends when the page leaves.

    `start` is called in a thread, which goes on where the page leaves meanwhile. So that thread begins to follow, and
    the end waits for it.
    """
    until_left = ExitStack()

    def begin() -> T:
        found = start()
        until_left.enter_context(follow(found))
        return found

    beginning = asyncio.ensure_future(threads.run(begin))
    try:
        yield await asyncio.shield(beginning)
    finally:
        beginning.add_done_callback(lambda _: until_left.close())


@asynccontextmanager
async def told_by(run: LiveRun) -> AsyncIterator[asyncio.Event]:
    """An event that the run's threads set after each change; set at first. Clear it before looking at the run."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    changed.set()

    def tell() -> None:
        if not changed.is_set():  # so that a loop that is busy is called once, not once per token
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)

    with run.telling(tell):
        yield changed
