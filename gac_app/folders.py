"""Where the files beside the code are: `configs` and `static` stand at the top of the repository, and inside the
package once it is installed. And how a file gets to its place, so that a loss of power leaves it there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _found(name: str) -> Path:
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


CONFIGS_DIR = _found("configs")
STATIC_DIR = _found("static")


def put(file: Path, target: Path) -> None:
    """Rename a file that is written. After a loss of power, `target` is what it was before, or all of the file."""
    with file.open("r+b") as written:
        os.fsync(written.fileno())
    file.replace(target)
    sync_names(target.parent)


def sync_names(folder: Path) -> None:
    """Write to the disk which files a folder has."""
    with suppress(OSError):  # Windows opens no folder, and some mounted ones cannot be synced
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
