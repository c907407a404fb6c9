"""What stands in for the page's script, and for a service that it asks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from gac_app.errors import unpacked
from gac_app.ui.requests import replying
from tests.ui.planted import KEY


def asking(functions: Iterable[Callable[..., Any]]) -> Callable[..., dict[str, Any]]:
    """Asks a function, of those that a part of the page offers its script: `ask(name, key, **fields)`."""
    by_name = {one.__name__: replying(one) for one in functions}

    def ask(name: str, key: str = KEY, /, **fields: Any) -> dict[str, Any]:
        reply: dict[str, Any] = unpacked(json.loads(json.dumps(by_name[name]({"key": key, **fields}))))
        return reply

    return ask


def collect(updates: AsyncIterator[Any]) -> list[Any]:
    """Every value that an event's handler gives."""

    async def run() -> list[Any]:
        return [update async for update in updates]

    return asyncio.run(run())


def lines_of(value: str) -> list[Any]:
    """The lines of a value of the page."""
    assert value.endswith("\n")
    return [unpacked(json.loads(line)) for line in value[:-1].split("\n")]  # as the page's script splits


class Spy:
    """Any method may be called: the call is noted, and answered by what was given for its name, else by None."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, *args, *([kwargs] if kwargs else [])))
            return self._answers.get(name)

        return note
