"""Where each member stands while the ensemble is being loaded: what the page's chips and `/readyz` show."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Literal

from gac_app.config import Config

Phase = Literal["waiting", "fetching", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class MemberState:
    """One member's way to being ready.

    Attributes:
        progress: 0 to 1 while fetching, where the size is known.
        detail: for people: why it failed, or what runs it where.
        notice: the model's licence notice.
    """

    name: str
    phase: Phase = "waiting"
    progress: float | None = None
    detail: str = ""
    notice: str = ""


class MemberStates:
    """The states of all members; loaders write them, surfaces read them."""

    def __init__(self, config: Config) -> None:
        self._states = {m.name: MemberState(m.name, notice=m.notice) for m in config.members}
        self._lock = threading.Lock()

    def set(self, name: str, phase: Phase, *, progress: float | None = None, detail: str = "") -> None:
        with self._lock:
            self._states[name] = replace(self._states[name], phase=phase, progress=progress, detail=detail)

    def all(self) -> list[MemberState]:
        with self._lock:
            return list(self._states.values())
