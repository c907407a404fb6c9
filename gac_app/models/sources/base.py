"""Values of this room, the rate of a fetch, and a watcher for a folder that something else fills."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from gac_app.errors import ModelLoadError

POLL_S = 0.3
_MIN_S = 1.0  # before that, a rate would be noise


class UnreachableError(ModelLoadError):
    """No host answers for this scheme (`hub`, `pypi`); its other sources need not be tried."""

    def __init__(self, scheme: str, message: str) -> None:
        super().__init__(message)
        self.scheme = scheme


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a fetch.

    Attributes:
        total_bytes: None while unknown; an estimate until all parts have been seen.
        bytes_per_s: None while unknown or before anything arrives; see `Meter`.
    """

    num_bytes: int
    total_bytes: int | None
    bytes_per_s: float | None = None

    @property
    def share(self) -> float | None:
        """0 to 1."""
        return min(1.0, self.num_bytes / self.total_bytes) if self.total_bytes else None

    @property
    def left_s(self) -> float | None:
        if self.total_bytes is None or self.bytes_per_s is None:
            return None
        return max(0, self.total_bytes - self.num_bytes) / self.bytes_per_s


ProgressCallback = Callable[[Progress], None]  # may be called from any thread, one call at a time


class Meter:
    """Adds the mean rate to progress reports. Bytes before the first report are of an earlier try."""

    def __init__(self, report: ProgressCallback, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._num_bytes = 0
        self._first: tuple[float, int] | None = None  # when, bytes

    def __call__(self, progress: Progress) -> None:
        # A wheel is a little larger than its file, but progress must not go back when it is unzipped.
        num_bytes = self._num_bytes = max(self._num_bytes, progress.num_bytes)
        self._first = self._first or (self._clock(), num_bytes)
        seconds, fetched = self._clock() - self._first[0], num_bytes - self._first[1]
        rate = fetched / seconds if seconds >= _MIN_S and fetched else None
        self._report(Progress(num_bytes, progress.total_bytes and max(progress.total_bytes, num_bytes), rate))


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: one GGUF file, or a directory laid out as on the Hugging Face Hub. For a back end
    with files of its own, any file or directory.
    """

    path: Path
    kind: Literal["gguf", "directory", "other"]


def inner_path(source: str, path: str) -> str:
    """The path of a file inside a wheel or a repository. Raises ModelLoadError if it would lie outside."""
    inner = PurePosixPath(path)
    if inner.is_absolute() or ".." in inner.parts or ":" in path or "\\" in path:
        raise ModelLoadError(f"{source}: the file's path must lie inside the wheel or the repository")
    return str(inner)


@contextlib.contextmanager
def watched(folder: Path, total_bytes: Callable[[], int | None], progress: ProgressCallback) -> Iterator[None]:
    """Report the size of `folder` while the body fills it."""
    is_done = threading.Event()

    def report() -> None:
        while not is_done.wait(POLL_S):
            num_bytes, total = folder_bytes(folder), total_bytes()
            # A file that is being copied to its place is in the folder twice.
            progress(Progress(num_bytes if total is None else min(num_bytes, total), total))

    thread = threading.Thread(target=report, name="fetch-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`, some of which may vanish meanwhile. Links do not count."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike Path.rglob, it skips folders that vanish
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):  # renamed or removed between listing and looking
                total += 0 if path.is_symlink() else path.stat().st_size
    return total
