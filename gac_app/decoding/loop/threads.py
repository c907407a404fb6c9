"""The number of threads that torch uses for a session's own computations."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def on_one_torch_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Limit torch to one thread in the calling thread: the members need the other cores.

    The mean over a vocabulary takes 0.2 ms on one core; a second thread would wait for a busy core.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        before = torch.get_num_threads()
        if before == 1:
            return function(*args, **kwargs)
        torch.set_num_threads(1)
        try:
            return function(*args, **kwargs)
        finally:
            torch.set_num_threads(before)

    return limited
