"""Repositories of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from gac_app.errors import ModelLoadError
from gac_app.models.sources.base import Progress, ProgressCallback, watched

PREFIX = "hub:"
_SOURCE = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_SAFE_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")
PICKLES = ("*.bin", "*.pt", "*.pth")


def fetch(
    source: str, cache_dir: Path, progress: ProgressCallback, *, allow_pickle: bool, allow_remote_code: bool
) -> Path:
    """The directory of a repository's snapshot; a complete one in the cache is used without asking the network.

    Raises:
        ModelLoadError: where the repository cannot be had.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ModelLoadError(f"{source}: expected hub:organisation/name or hub:organisation/name@revision")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = {
        "repo_id": match["repo"],
        "revision": match["revision"],
        "cache_dir": cache_dir / "hub",
        "allow_patterns": [*_SAFE_FILES, *(PICKLES * allow_pickle), *(("*.py",) * allow_remote_code)],
    }
    try:
        return Path(snapshot_download(**wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not here yet, or not whole
    blobs = cache_dir / "hub" / f"models--{match['repo'].replace('/', '--')}" / "blobs"
    try:
        total = sum(info.file_size for info in snapshot_download(**wanted, dry_run=True))
        with watched(blobs, lambda: total, progress):
            path = Path(snapshot_download(**wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelLoadError(f"{source}: {_reason(error)}") from error
    progress(Progress(total, total))
    return path


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import DryRunError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, DryRunError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, GatedRepoError):
        return "this repository asks for permission: accept its terms on huggingface.co and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "no such repository on huggingface.co, or a private one (then set HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such revision"
    first_line = next(iter(str(error).splitlines()), "")
    return f"huggingface.co cannot be reached ({type(error).__name__}: {first_line})"
