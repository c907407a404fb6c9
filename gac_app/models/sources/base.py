"""Values of this package, and the watching of a folder that something else fills."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is. `total_bytes` is None while unknown, and an estimate while parts are still unseen."""

    num_bytes: int
    total_bytes: int | None


ProgressCallback = Callable[[Progress], None]  # may be called from another thread, one call at a time


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine: one GGUF file, or a directory in the layout of the Hugging Face Hub."""

    path: Path
    kind: Literal["gguf", "directory"]


@contextlib.contextmanager
def watched(folder: Path, total_bytes: Callable[[], int | None], progress: ProgressCallback) -> Iterator[None]:
    """Report the size of `folder` while the body, which fills it, runs."""
    is_done = threading.Event()

    def report() -> None:
        while not is_done.wait(POLL_S):
            num_bytes, total = folder_bytes(folder), total_bytes()
            # A file being copied to its place stands in the folder twice.
            progress(Progress(num_bytes if total is None else min(num_bytes, total), total))

    thread = threading.Thread(target=report, name="fetch-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`, of which some may vanish meanwhile; links count nothing."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that vanish, unlike Path.rglob
        for name in names:
            path = Path(parent, name)
            with contextlib.suppress(FileNotFoundError):  # renamed or removed between listing and looking
                total += 0 if path.is_symlink() else path.stat().st_size
    return total
