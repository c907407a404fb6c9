"""A dataset on the Hugging Face Hub, to which the mirror's file is committed."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler, HfApi

logger = logging.getLogger(__name__)

FILES = "gac-*.jsonl"
LAST_COMMIT_S = 3.0  # when the process ends


class Dataset:
    """Commits a folder's files every few minutes. If missing, the dataset is created as private.

    Args:
        every_minutes: between commits. If a commit fails, the next one has its lines.
        api: the Hub's API.
    """

    def __init__(self, name: str, folder: Path, every_minutes: float, api: HfApi | None = None) -> None:
        self._name, self._folder, self._every_minutes, self._api = name, folder, every_minutes, api
        self._scheduler: CommitScheduler | None = None

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """A folder of the files that all processes have committed, as long as it is needed. Raises OSError."""
        from huggingface_hub import CommitScheduler, HfApi

        self._folder.mkdir(parents=True, exist_ok=True)
        api, cache = self._api or HfApi(), self._folder.with_name(f"{self._folder.name}.read")
        try:
            try:
                if self._scheduler is None:
                    self._scheduler = CommitScheduler(
                        repo_id=self._name,
                        repo_type="dataset",
                        folder_path=self._folder,
                        every=self._every_minutes,
                        allow_patterns=FILES,
                        private=True,
                        hf_api=api,
                    )
                newest = api.dataset_info(self._name).sha  # without it, the client may take an older copy of its own
                kind = {"repo_type": "dataset", "revision": newest, "allow_patterns": FILES}
                found = api.snapshot_download(self._name, cache_dir=cache, **kind)
            except Exception as error:  # the library passes on any error of its HTTP client
                raise OSError(f"{self._name}: {error}") from None
            yield Path(found)
        finally:
            shutil.rmtree(cache, ignore_errors=True)  # deletions miss it

    @property
    def has_failed(self) -> bool:
        """Whether the last commit failed. The Hub's client logs why."""
        commit = self._scheduler and self._scheduler.last_future
        return bool(commit and commit.done() and commit.exception())

    def close(self) -> None:
        """Commit what is left."""
        if self._scheduler:
            try:
                self._scheduler.trigger().result(LAST_COMMIT_S)
            except Exception as error:  # of any kind, as above
                logger.warning("the mirror's last lines were not committed: %s", type(error).__name__)
            self._scheduler.stop()
