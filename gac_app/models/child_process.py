"""Modules of this package run by themselves, where an abort in C harms nobody and nothing else is measured."""

from __future__ import annotations

import subprocess
import sys


class ChildFailed(Exception):  # noqa: N818 (whoever asked says what that means)
    """Its text is the last line that the child complained with, or the status it ended with.

    Attributes:
        signal: that killed the child; 0 = it ended by itself.
    """

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
        self.signal = max(0, -done.returncode)


def run_module(module: str, *arguments: object, timeout_s: float) -> str:
    """What a module prints. Raises ChildFailed, and subprocess.TimeoutExpired where it takes longer."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise ChildFailed(done)
    return done.stdout
