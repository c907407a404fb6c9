"""Threads of the services. Where the machine has none left, nothing that waits for one is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from gac_app.errors import BusyError, Phrase


def begin_thread(name: str, work: Callable[..., object], *args: Any) -> threading.Thread:
    """A thread that has begun. Raises BusyError."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # a limit of processes
        raise BusyError(Phrase("This server has no thread left. Try again in a minute.")) from None
    return thread


def begin_timer(wait_s: float, call: Callable[..., object], *args: Any) -> threading.Timer | None:
    """A timer that runs; None = this server has no thread left."""
    timer = threading.Timer(wait_s, call, args)
    timer.daemon = True
    try:
        timer.start()
    except RuntimeError:
        return None
    return timer
