"""How many threads torch uses for a session's own computations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch use one thread for the calling thread: the members need the cores meanwhile.

    The mean over a vocabulary takes one core 0.2 ms; with a second thread it would wait for a busy core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
