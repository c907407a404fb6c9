"""A run's changes on an event loop: pushed by the threads that decode it, so that nobody polls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gac_app.services.runs.live_run import LiveRun


@asynccontextmanager
async def changes_of(run: LiveRun) -> AsyncIterator[asyncio.Event]:
    """An event that the run's threads set after each change; set at first. Clear it before looking at the run."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    changed.set()

    def tell() -> None:
        if not changed.is_set():  # so that a loop that is busy is called once, not once per token
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)

    with run.telling(tell):
        yield changed
