"""Files derived from a model's file, kept in the cache: made once, checked at later starts, remade if damaged, and
removed once they are not used any more. The time of a directory's lock is that of its last use.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import shutil
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

SUMS_FILE = "checksums.json"
_READ_BYTES = 1 << 20  # at once
_UNUSED_S = 30 * 24 * 3600
_logger = logging.getLogger(__name__)


def derived(source: Path, folder: Path, make: Callable[[Path], object], format_number: int, *facts: object) -> Path:
    """The directory in `folder` whose files `make` wrote, now or in an earlier call.

    If several processes want it, one makes it and the others wait. Incomplete and damaged directories are remade. Every
    file has a checksum; checking 3 GB takes a second if they are in memory.

    Args:
        source: the file. If its size or time changes, another directory is made.
        format_number: version of the directory's content; a new number remakes it.
        facts: whatever else the content depends on.

    Raises:
        OSError: nothing can be kept. Whatever `make` raises.
    """
    if found := kept(source, folder, format_number, *facts):
        return found
    target = _target(source, folder, format_number, *facts)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(lock := _lock_of(target)):
        lock.touch()
        if not _is_whole(target):  # another process may have made it while this one waited
            if target.exists():
                _logger.warning("the files derived from %s are damaged and are made again", source.name)
                shutil.rmtree(target)
            work_dir = target.with_name(target.name + ".making")
            shutil.rmtree(work_dir, ignore_errors=True)  # left by a process that was killed
            work_dir.mkdir()
            try:
                make(work_dir)
                files = [path for path in sorted(work_dir.rglob("*")) if path.is_file()]
                sums = {path.relative_to(work_dir).as_posix(): _sum(path) for path in files}
                (work_dir / SUMS_FILE).write_text(json.dumps(sums), encoding="utf-8")
                work_dir.replace(target)
                _remove_unused(source, folder)
            finally:
                shutil.rmtree(work_dir, ignore_errors=True)
    return target


def kept(source: Path, folder: Path, format_number: int, *facts: object) -> Path | None:
    """The directory that an earlier call of `derived` made; None if there is none, or it is damaged."""
    target = _target(source, folder, format_number, *facts)
    if not _is_whole(target):
        return None
    with suppress(OSError):  # a read-only cache
        _lock_of(target).touch()
    return target


def _remove_unused(source: Path, folder: Path) -> None:
    """Such as of another version or processor. The locks stay: somebody may wait for one."""
    for lock in folder.glob(f"{glob.escape(source.stem)}-????????.lock"):
        if time.time() - lock.stat().st_mtime > _UNUSED_S:
            for suffix in ("", ".making"):
                shutil.rmtree(lock.with_suffix(suffix), ignore_errors=True)


def _target(source: Path, folder: Path, format_number: int, *facts: object) -> Path:
    status = source.stat()
    key = "\n".join(map(str, (SUMS_FILE, format_number, source.resolve(), status.st_size, status.st_mtime_ns, *facts)))
    return folder / f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _lock_of(target: Path) -> Path:
    return target.with_name(target.name + ".lock")


def _is_whole(directory: Path) -> bool:
    """Whether all files are there and unchanged."""
    try:
        sums = json.loads((directory / SUMS_FILE).read_text(encoding="utf-8"))
        return all(list(_sum(directory / name)) == kept for name, kept in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sum(path: Path) -> tuple[int, int]:
    """A file's size and CRC-32: it detects damage, not forgery."""
    size, found, buffer = 0, 0, memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        while num_read := file.readinto(buffer):
            size, found = size + num_read, zlib.crc32(buffer[:num_read], found)
    return size, found
