"""The number of threads that torch uses for a session's own computations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread in the calling thread: the members need the other cores.

    The mean over a vocabulary takes 0.2 ms on one core; a second thread would wait for a busy core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
