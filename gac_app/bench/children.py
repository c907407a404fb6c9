"""Measurements that need a process of their own: a fresh start, a peak of memory, a core."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from gac_app.errors import GacError

CHILD_TIMEOUT_S = 900


def run_child(module: str, *arguments: str) -> Any:
    """What a module of this package prints as JSON when it is run by itself. Raises GacError where it fails."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise GacError(f"{module} did not end within {CHILD_TIMEOUT_S} s") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise GacError(f"{module} failed: {reason}")
    return json.loads(done.stdout)
