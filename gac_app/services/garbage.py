"""How Python's collector of cyclic garbage is held back."""

from __future__ import annotations

import gc

THRESHOLDS = 20_000, 5, 2  # new objects, and collections of each generation before the next one is collected as well


def collect_seldom() -> None:
    """Leave out what exists by now for good, and look seldom at what comes.

    A collection of everything that has been loaded would take 0.25 s, and everybody would wait for it. What requests
    and imports make holds hardly any cycles, so that it need not be looked at 700 objects at a time.
    """
    gc.collect()
    leave_out()
    gc.set_threshold(*THRESHOLDS)


def leave_out() -> None:
    """Leave out what exists by now for good, garbage too."""
    gc.freeze()
    gc.collect()  # takes no time now; the collector waits for a quarter more than what the last collection left
