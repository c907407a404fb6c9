"""SHA-256 of model files, computed once per file and remembered."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gac_app.errors import ModelLoadError
from gac_app.models.derived import derived

_NAME = "sha256"


def check_sha256(path: Path, expected: str, cache_dir: Path) -> None:
    """Raise ModelLoadError, naming the file, unless its SHA-256 is `expected`.

    The file is read only if its size or time has changed since it was last read.
    """
    found = sha256_of(path, cache_dir)
    if found != expected:
        size = path.stat().st_size
        raise ModelLoadError(
            f"{path.name}: damaged or not the right file: expected SHA-256 {expected}, found {found} ({size:,} bytes)"
        )


def sha256_of(path: Path, cache_dir: Path) -> str:
    """The file's SHA-256 in hexadecimal, from the cache where the file is unchanged."""
    try:
        made = derived(path, cache_dir / "checked", lambda folder: (folder / _NAME).write_text(_sha256(path)), 1)
        return (made / _NAME).read_text()
    except OSError:  # a read-only cache: the file is hashed at every start
        return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
