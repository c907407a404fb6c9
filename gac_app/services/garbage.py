"""How Python's collector of cyclic garbage is held back."""

from __future__ import annotations

import gc

THRESHOLD = 20_000  # new objects between two collections


def collect_seldom() -> None:
    """Leave out what exists by now for good, and look seldom at what comes.

    A collection of everything that has been loaded would take 0.25 s, and everybody would wait for it. What requests
    and imports make holds hardly any cycles, so that it need not be looked at 700 objects at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
