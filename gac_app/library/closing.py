"""What a `with` statement closes, and what closes itself when nobody has it any more."""

from __future__ import annotations

import os
import weakref
from abc import abstractmethod
from typing import Self

from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import GacError

_FORKED = "a fork leaves its threads behind: load it in the child process, or start processes by the method 'spawn'"


class Closing:
    """The block's end calls `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> object:
        """Free what is held."""


class Owner(Closing):
    """Owns an ensemble, which is closed when its owner is closed or collected, or the program ends."""

    def own(self, ensemble: Ensemble) -> None:
        """Call it once. The finalizer must not refer to the owner."""
        self.ensemble = ensemble
        self._pid = os.getpid()
        self._release = weakref.finalize(self, _close, ensemble, self._pid)

    def check_usable(self) -> None:
        """Raise GacError if the ensemble is closed or belongs to the process that this one was forked from."""
        if os.getpid() != self._pid:
            raise GacError(f"the ensemble belongs to another process, and {_FORKED}")
        if not self._release.alive:
            raise GacError("the ensemble is closed")


def _close(ensemble: Ensemble, pid: int) -> None:
    """In a forked process the models, their devices and servers are the parent's."""
    if os.getpid() == pid:
        ensemble.close()
