from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

_OPEN_AT_ONCE = """
import threading
from gac_app.models.llama_cpp.library import library

barrier, opened = threading.Barrier(8), []

def open_library():
    barrier.wait()
    opened.append(library())

threads = [threading.Thread(target=open_library) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len({id(library) for library in opened}))
"""


def test_threads_that_load_at_once_share_one_library() -> None:
    # Otherwise the log callback of all but the last is freed while C still calls it, and the process crashes.
    done = subprocess.run([sys.executable, "-c", _OPEN_AT_ONCE], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1", done.stderr
