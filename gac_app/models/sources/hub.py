"""Repositories of the Hugging Face Hub, and single files of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.sources.base import Progress, ProgressCallback, UnreachableError, inner_path, watched

SCHEME = "hub"
ANSWER_S = 5.0  # seconds to wait for the Hub's first answer about a file
PICKLES = ("*.bin", "*.pt", "*.pth")
_SOURCE = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(#(?P<path>.+))?")
_SAFE_FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")


@dataclass(frozen=True, slots=True)
class HubSource:
    """`hub:organisation/name[@revision][#path]`: a repository, or one file of it."""

    source: str
    repo: str
    revision: str | None
    path: str | None

    @classmethod
    def parse(cls, source: str) -> HubSource:
        """Parse a source. Raises ModelLoadError if it has another form or a path outside the repository."""
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise ModelLoadError(f"{source}: expected hub:organisation/name, optionally with @revision and #file")
        path = inner_path(source, match["path"]) if match["path"] else None
        return cls(source, match["repo"], match["revision"], path)


def cached_repository(text: str, member: MemberConfig, cache_dir: Path) -> Path | None:
    """The directory of a repository's snapshot, if the cache has it whole. Uses no network.

    Raises:
        ModelLoadError: the source has another form.
    """
    source = HubSource.parse(text)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(**_wanted(source, member, cache_dir), local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):  # fetching says why
        return None


def fetch_repository(text: str, member: MemberConfig, cache_dir: Path, progress: ProgressCallback) -> Path:
    """The directory of a repository's snapshot, fetched into the cache if needed.

    Raises:
        UnreachableError: the Hub does not answer.
        ModelLoadError: the repository cannot be fetched.
    """
    if path := cached_repository(text, member, cache_dir):
        return path
    source = HubSource.parse(text)
    from huggingface_hub import snapshot_download

    wanted = _wanted(source, member, cache_dir)
    blobs = cache_dir / "hub" / f"models--{source.repo.replace('/', '--')}" / "blobs"

    def download() -> Path:
        total = sum(info.file_size for info in snapshot_download(**wanted, dry_run=True))
        with watched(blobs, lambda: total, progress):
            path = Path(snapshot_download(**wanted))
        progress(Progress(total, total))
        return path

    return _asked(source, download)


def fetch(text: str, folder: Path, progress: ProgressCallback) -> Path:
    """Fetch one file of a repository into an empty folder. Returns its path.

    Raises:
        UnreachableError: the Hub does not answer.
        ModelLoadError: the file cannot be fetched.
    """
    source = HubSource.parse(text)
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    def download() -> Path:
        # Checked first: hf_hub_download tries for minutes before it gives up on a host.
        url = hf_hub_url(source.repo, source.path, revision=source.revision)
        size = get_hf_file_metadata(url, timeout=ANSWER_S).size
        with watched(folder, lambda: size, progress):
            return Path(hf_hub_download(source.repo, source.path, revision=source.revision, local_dir=folder))

    return _asked(source, download)


def _wanted(source: HubSource, member: MemberConfig, cache_dir: Path) -> dict[str, Any]:
    weights = () if member.is_elsewhere else ("*.safetensors", *(PICKLES * member.allow_pickle))
    patterns = [*weights, *_SAFE_FILES, *(("*.py",) * member.allow_remote_code)]
    return {
        "repo_id": source.repo,
        "revision": source.revision,
        "cache_dir": cache_dir / "hub",
        "allow_patterns": patterns,
    }


def _asked(source: HubSource, download: Callable[[], Path]) -> Path:
    """The result of `download`, with the library's errors turned into ours and without progress bars."""
    from huggingface_hub.errors import HFValidationError, HTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        return download()
    except (HTTPError, OSError, HFValidationError) as error:
        raise _error(source, error) from error


def _error(source: HubSource, error: Exception) -> ModelLoadError:
    from huggingface_hub import errors

    if isinstance(error, errors.DryRunError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    said = f"({type(error).__name__}: {next(iter(str(error).splitlines()), '')})"
    reasons = {  # by kind, an error's own before those that it inherits from
        errors.GatedRepoError: "a gated repository: accept its terms on huggingface.co and set HF_TOKEN",
        errors.RepositoryNotFoundError: "no such repository on huggingface.co, or a private one (then set HF_TOKEN)",
        errors.RevisionNotFoundError: "the repository has no such revision",
        errors.RemoteEntryNotFoundError: "the repository has no such file",
        errors.HfHubHTTPError: f"huggingface.co refused {said}",
    }
    reason = next((reason for kind, reason in reasons.items() if isinstance(error, kind)), "")
    if not reason and isinstance(error, errors.HTTPError | errors.LocalEntryNotFoundError | ConnectionError):
        return UnreachableError(SCHEME, f"{source.source}: huggingface.co cannot be reached {said}")
    # FileMetadataError if another server answers, a full disk
    return ModelLoadError(f"{source.source}: {reason or f'the download failed {said}'}")
