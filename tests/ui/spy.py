"""A stand-in that notes what it is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
