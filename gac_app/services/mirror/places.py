"""Places for a mirror's files: a folder, or a dataset on the Hugging Face Hub."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from gac_app.errors import StorageError, without_folders

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler, HfApi

logger = logging.getLogger(__name__)

PUSH_EVERY_S = 60.0  # at most so often: the Hub takes 128 commits an hour
LAST_PUSH_S = 3.0  # when the process ends
FILES = "gac-*.jsonl"


class Trouble:
    """Counts failures. Logs the first one, and the first after each success.

    Attributes:
        is_on: whether the last try failed.
    """

    def __init__(self, what: str) -> None:
        self.num_errors = 0
        self._what, self.is_on = what, False

    def note(self, error: Exception) -> None:
        self.num_errors += 1
        if not self.is_on:
            self.is_on = True
            is_known = isinstance(error, OSError | StorageError)  # any other one's message may have a visitor's text
            why = without_folders(str(error)) if is_known else type(error).__name__
            logger.error("%s; it is tried again: %s", self._what, why)

    def over(self) -> None:
        self.is_on = False


class Place:
    """A folder for files, possibly mounted: this process appends to its own file there. It is created, but its parent
    must exist. Methods raise OSError.
    """

    def __init__(self, folder: Path, what_fails: str = "the mirror's folder cannot be used") -> None:
        self.folder, self.trouble = folder, Trouble(what_fails)

    def prepare(self) -> None:
        """Make the folder if it is missing."""
        self.folder.mkdir(exist_ok=True)

    def fetch(self) -> list[Path]:
        """The files of all processes, oldest first. May take minutes."""
        self.prepare()
        return sorted(self.folder.glob(FILES))

    def discard_fetched(self) -> None:
        """Remove what `fetch` got from elsewhere: deletions would miss it."""

    def push(self) -> None:
        """Publish soon, where that is not at once: something important was appended."""

    def close(self) -> None:
        """Publish what is left."""


class DatasetPlace(Place):
    """A dataset; new lines are committed every few minutes. If missing, it is created as private.

    Args:
        folder: the local copy.
        every_minutes: between commits. If a commit fails, the next one includes its lines.
        api: the Hub's API.
    """

    def __init__(self, dataset: str, folder: Path, every_minutes: float, api: HfApi | None = None) -> None:
        super().__init__(folder, "the mirror's dataset takes no commit")
        self._fetched = folder.with_name(f"{folder.name}.read")  # a cache of the Hub's client
        self._dataset, self._every_minutes, self._api = dataset, every_minutes, api
        self._scheduler: CommitScheduler | None = None
        self._pushed_at = -PUSH_EVERY_S  # or to be pushed then

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetch(self) -> list[Path]:
        from huggingface_hub import HfApi

        self.prepare()
        api = self._api or HfApi()
        try:
            if self._scheduler is None:
                self._scheduler = self._new_scheduler(api)
            revision = api.dataset_info(self._dataset).sha  # without it, the client may take an older copy of its own
            found = api.snapshot_download(
                self._dataset, repo_type="dataset", revision=revision, allow_patterns=FILES, cache_dir=self._fetched
            )
        except Exception as error:  # the library passes on any error of its HTTP client
            raise OSError(f"{self._dataset}: {error}") from None
        # This machine's own files are at least as long as their copies.
        files = {path.name: path for folder in (Path(found), self.folder) for path in folder.glob(FILES)}
        return [path for _, path in sorted(files.items())]

    def discard_fetched(self) -> None:
        shutil.rmtree(self._fetched, ignore_errors=True)

    def push(self) -> None:
        if self._scheduler and (now := time.monotonic()) >= self._pushed_at:
            self._pushed_at = max(now, self._pushed_at + PUSH_EVERY_S)
            timer = Timer(self._pushed_at - now, self._scheduler.trigger)
            timer.daemon = True
            timer.start()

    def close(self) -> None:
        if self._scheduler:
            ends_at = time.monotonic() + LAST_PUSH_S
            while (left_s := ends_at - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    self._scheduler.trigger().result(left_s)
                    if not self.trouble.is_on:
                        break
                    time.sleep(LAST_PUSH_S / 10)
            else:
                logger.warning("the mirror's last lines were not committed before the process ended")
            self._scheduler.stop()
        self.discard_fetched()

    def _new_scheduler(self, api: HfApi) -> CommitScheduler:
        from huggingface_hub import CommitScheduler

        trouble = self.trouble

        class Scheduler(CommitScheduler):  # type: ignore[misc]
            def push_to_hub(self) -> Any:
                try:
                    commit = super().push_to_hub()
                except Exception as error:  # of any kind: the next commit includes these lines
                    trouble.note(error)
                    return None
                trouble.over()
                return commit

        return Scheduler(
            repo_id=self._dataset,
            repo_type="dataset",
            folder_path=self.folder,
            every=self._every_minutes,
            allow_patterns=FILES,
            private=True,
            hf_api=api,
        )
