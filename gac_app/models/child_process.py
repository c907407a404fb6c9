"""Runs modules of this package in a process of their own: an abort in C does no harm, and timings are undisturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

BUSY_STATUS = 75  # of a child that can tell nothing now, but may later; EX_TEMPFAIL of sysexits.h


class ChildFailed(Exception):  # noqa: N818 (the caller decides what it means)
    """The child failed. The text is its last line on stderr, or its exit status.

    Attributes:
        signal: the signal that killed the child; 0 = none.
        status: its exit status.
    """

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        self.signal, self.status = max(0, -done.returncode), done.returncode


def run_module(module: str, *arguments: object, timeout_s: float) -> str:
    """The output of a module. Raises ChildFailed, or subprocess.TimeoutExpired."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise ChildFailed(done)
    return done.stdout


def leave_with(parent: int) -> None:
    """End this process soon after its parent, whose next child would write to the same directory."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
