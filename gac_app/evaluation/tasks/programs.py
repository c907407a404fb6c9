"""Whether a program that a model wrote passes its tests. It runs in a process of its own with limits, so that an
accident costs seconds. They do not hold an attacker back: only an operator's task asks for it.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from tempfile import TemporaryDirectory, TemporaryFile

from gac_app.errors import RequestError

_SECONDS = 10
# Limits memory, time, and the size and number of files; where the system allows it, leaves the network.
_RUN = f"""
import ctypes, resource, sys
program = sys.stdin.read()
for name, most in (("AS", 1 << 30), ("CPU", {_SECONDS}), ("FSIZE", 1 << 20), ("NOFILE", 32), ("CORE", 0)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
getattr(ctypes.CDLL(None), "unshare", lambda _: None)(0x50000000)
exec(compile(program, "program", "exec"), {{"__name__": "__main__"}})
"""


def passes(program: str, tests: str) -> bool:
    """Whether the tests, lines of Python after the program, end without an exception within ten seconds. Raises
    RequestError where there are no limits: all programs would look wrong.
    """
    _check_limits()
    return _passes(program, tests)


@cache
def _check_limits() -> None:
    if sys.platform == "win32" or not _passes("", ""):
        raise RequestError("task", "programs run only where a process can be limited; here an empty one fails")


def _passes(program: str, tests: str) -> bool:
    passed = secrets.token_hex()  # written last: a program may also end the process
    with TemporaryDirectory() as folder, TemporaryFile() as written:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _RUN],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={},
            start_new_session=True,
        )
        with suppress(subprocess.TimeoutExpired):
            process.communicate(f"{program}\n{tests}\nprint({passed!r})".encode(), timeout=_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what it started
        process.wait()
        written.seek(0)
        return written.read().decode(errors="replace").endswith(f"{passed}\n")
