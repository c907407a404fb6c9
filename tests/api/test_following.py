"""A run is followed without a pause."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.server.api.following import pieces_of
from gac_app.services.runs.views import StreamView


class GrowingRun:
    """A run that goes on when it is told to."""

    def __init__(self) -> None:
        self.streams, self.over = {"0": StreamView("a")}, threading.Event()
        self.grow(FinishReason.LENGTH)

    def grow(self, reason: FinishReason) -> None:
        self.streams["0"].events.append(FinishedEvent(reason, "", 0, 0, 0.0, 0.0, {}))  # type: ignore[attr-defined]

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        self.tell = tell
        yield


def test_what_comes_while_a_piece_is_sent_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.api.following.PING_S", 0.5)
    run: Any = GrowingRun()

    async def reasons() -> list[FinishReason | None]:
        found = list[FinishReason | None]()
        async for piece in pieces_of(run):
            found.append(piece[2].reason if piece and piece[2] else None)
            if not run.over.is_set():
                run.grow(FinishReason.STOP)
                run.over.set()
                run.tell()
        return found

    assert asyncio.run(reasons()) == [FinishReason.LENGTH, FinishReason.STOP]
