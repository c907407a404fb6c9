"""Measurements that need their own process: a fresh start, a peak of memory, a core."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from gac_app.errors import GacError
from gac_app.models.child_process import ChildFailed, run_module

CHILD_TIMEOUT_S = 900


def run_child(module: str, *arguments: str) -> Any:
    """The JSON that a module of this package prints when it runs as a program. Raises GacError if it fails."""
    try:
        return json.loads(run_module(module, *arguments, timeout_s=CHILD_TIMEOUT_S))
    except subprocess.TimeoutExpired:
        raise GacError(f"{module} did not end within {CHILD_TIMEOUT_S} s") from None
    except ChildFailed as failure:
        raise GacError(f"{module} failed: {failure}") from None
