"""How many threads torch uses for what a session itself computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """One, in the calling thread, while this is open: the cores are the members', which compute meanwhile.

    A vocabulary's mean takes one core a fifth of a millisecond; with a second thread it waits for a busy core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
