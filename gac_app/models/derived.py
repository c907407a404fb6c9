"""What is made of a model's file once, and kept in the cache for later starts."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


def derived(source: Path, folder: Path, make: Callable[[Path], None], format_number: int, *facts: object) -> Path:
    """The directory in `folder` with what `make` writes into the directory it is given, now or at an earlier call.

    Of several processes one makes it and the others wait. What was left half made is made anew.

    Args:
        source: the file; another size or time of it makes another directory.
        format_number: of what is kept; a new number makes it anew.
        facts: what else it depends on.

    Raises:
        OSError: where nothing can be kept; and whatever `make` raises.
    """
    status = source.stat()
    key = "\n".join(map(str, (format_number, source.resolve(), status.st_size, status.st_mtime_ns, *facts)))
    target = folder / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(target.name + ".lock")):
        if not target.is_dir():  # another process may have made it while this one waited
            work_dir = target.with_name(target.name + ".making")
            shutil.rmtree(work_dir, ignore_errors=True)  # left by a process that was killed
            work_dir.mkdir()
            try:
                make(work_dir)
                work_dir.replace(target)
            finally:
                shutil.rmtree(work_dir, ignore_errors=True)
    return target
