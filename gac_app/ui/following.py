"""Starts what a page follows, so that nothing goes on that no page follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import TypeVar

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
