"""A way to a model on which messages are lost, repeated and late, and whose far end begins anew now and then."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from gac_app.errors import MemberError
from gac_app.executors.hosted import Host, ModelHost, SlotRead
from gac_app.models.base import Model


class FlakyHost(Host):
    """Holds what `make` makes; a `share` of the messages goes wrong, each in one of the ways."""

    def __init__(self, make: Callable[[], Model], seed: int = 0, share: float = 0.3) -> None:
        self._make, self._share = make, share
        self._random = random.Random(seed)
        self._host = ModelHost(make())
        self._sent: list[list[SlotRead]] = []

    def facts(self) -> dict[str, Any]:
        return self._host.facts()

    def step(self, reads: list[SlotRead]) -> list[np.ndarray]:
        if self._is_hit():
            self._host = ModelHost(self._make())
        if self._is_hit():  # its result is lost, and it is sent again
            self._host.step(reads)
        if self._sent and self._is_hit():
            with suppress(MemberError):
                self._host.step(self._random.choice(self._sent))
        self._sent.append(reads)
        return self._host.step(reads)

    def copy(self, slot: int, other: int) -> None:
        if not self._is_hit():
            self._host.copy(slot, other)

    def free(self, slot: int) -> None:
        if not self._is_hit():
            self._host.free(slot)

    def close(self) -> None:
        self._host.close()

    def _is_hit(self) -> bool:
        return self._random.random() < self._share
