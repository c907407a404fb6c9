"""Events whose handlers stream, and what a page follows: nothing goes on that no page follows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from typing import Any, TypeVar

import gradio as gr

from gac_app.ui.requests import Fields, Threads, client_here

T = TypeVar("T")

# Options of listeners.
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# The service has its own queue, with fair turns, so nothing waits in Gradio's.
STREAMED: dict[str, Any] = {**QUIET, "concurrency_id": "runs", "concurrency_limit": None}


def stream_handler(
    stream: Callable[[Callable[[], tuple[str, T]]], AsyncIterator[Any]], start: Callable[[Fields, str], T]
) -> Callable[[gr.EventData], AsyncIterator[Any]]:
    """A handler of a script's event: `stream` follows what `start` gives.

    Args:
        start: called in a thread with the browser's data and the client's name.
    """

    async def handler(event: gr.EventData) -> AsyncIterator[Any]:
        client = client_here()

        def started() -> tuple[str, T]:
            fields = Fields(event._data)
            return fields.visitor_key, start(fields, client)

        async for updates in stream(started):
            yield updates

    return handler


@asynccontextmanager
async def start_and_follow(
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
