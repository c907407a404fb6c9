"""SHA-256 of model files, computed once per file and remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from gac_app.errors import ModelLoadError


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
    """The file's SHA-256 in hexadecimal, from memory where the file is unchanged."""
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns]
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    marker = cache_dir / "checked" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # an unreadable marker only costs time
        remembered = json.loads(marker.read_text(encoding="utf-8"))
        if remembered["state"] == state:
            return str(remembered["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a read-only cache is hashed at every start
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({"path": str(path), "state": state, "sha256": digest}), encoding="utf-8")
    return digest
