"""Calls that block, for asyncio: each in a thread of its own, so that those that wait hold up no others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


async def in_a_thread(work: Callable[[threading.Event], T]) -> T:
    """The result of `work`. Its event is set where nobody waits for the result any more."""
    nobody_waits = threading.Event()
    pool = ThreadPoolExecutor(1)
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, work, nobody_waits)
    finally:
        nobody_waits.set()
        pool.shutdown(wait=False)


async def each_in_a_thread(make: Callable[[threading.Event], Generator[T, None, Any]]) -> AsyncIterator[T]:
    """The items of the generator that `make` makes; none of them is None. It is closed with this one, which sets the
    event, too: the next item may be under way.
    """
    loop, pool, nobody_waits = asyncio.get_running_loop(), ThreadPoolExecutor(1), threading.Event()
    items = await loop.run_in_executor(pool, make, nobody_waits)
    try:
        while (item := await loop.run_in_executor(pool, next, items, None)) is not None:
            yield item
    finally:
        nobody_waits.set()
        pool.submit(items.close)
        pool.shutdown(wait=False)
