"""Runs modules of this package in a process of their own: an abort in C does no harm, and timings are undisturbed."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path

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
    command = command_of(module, *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise ChildFailed(done)
    return done.stdout


def command_of(module: str, *arguments: str) -> list[str]:
    """The command that runs a module in a process that ends soon after this one, however this one ends."""
    return [sys.executable, __file__, str(os.getpid()), module, *arguments]  # by its file, found from any folder


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    _, started_by, *sys.argv = sys.argv
    sys.path[0] = str(Path(__file__).parents[2])
    if sys.platform != "win32":  # where an environment's python.exe stands between the two, and nobody's parent changes
        threading.Thread(target=_leave_with, args=(int(started_by),), daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
