"""Where a mirror's files lie: in a folder, or in a dataset on the Hugging Face Hub."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gac_app.errors import without_folders

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler, HfApi

logger = logging.getLogger(__name__)

LAST_PUSH_S = 3.0  # when the process ends
FILES = "gac-*.jsonl"


class Trouble:
    """Counts what fails, and tells the log of the first time, and again once it had worked in between."""

    def __init__(self, what: str) -> None:
        self.num_errors = 0
        self._what, self._is_told = what, False

    def note(self, error: Exception) -> None:
        self.num_errors += 1
        if not self._is_told:
            self._is_told = True
            logger.error("%s; it is tried again: %s", self._what, without_folders(str(error)))

    def over(self) -> None:
        self._is_told = False


class Place(Protocol):
    """Where files lie. What raises raises OSError."""

    folder: Path  # where this process appends to a file of its own
    trouble: Trouble

    def prepare(self) -> None:
        """Make the folder where there is none."""

    def fetch(self) -> list[Path]:
        """The files of all processes, those begun first first; may take minutes."""

    def push(self) -> None:
        """Something important was appended."""

    def close(self) -> None: ...


class FolderPlace:
    """A folder, mounted perhaps. It is made, but not the one that it lies in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble = Trouble("the mirror's folder cannot be used")

    def prepare(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def fetch(self) -> list[Path]:
        self.prepare()
        return sorted(self.folder.glob(FILES))

    def push(self) -> None:
        """It is there already."""

    def close(self) -> None:
        """Nothing is open."""


class DatasetPlace:
    """A dataset, to which what was appended is committed every few minutes; made, private, where there is none.

    Args:
        folder: this machine's copy of what is committed.
        every_minutes: between commits. What a commit that fails left out goes with the next.
        api: the Hub's.
    """

    def __init__(self, dataset: str, folder: Path, every_minutes: float, api: HfApi | None = None) -> None:
        self.folder = folder
        self.trouble = Trouble("the mirror's dataset takes no commit")
        self._dataset, self._every_minutes, self._api = dataset, every_minutes, api
        self._scheduler: CommitScheduler | None = None

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def fetch(self) -> list[Path]:
        from huggingface_hub import HfApi

        self.prepare()
        api = self._api or HfApi()
        try:
            if self._scheduler is None:
                self._scheduler = self._new_scheduler(api)
            copy = Path(api.snapshot_download(self._dataset, repo_type="dataset", allow_patterns=FILES))
        except Exception as error:  # the library lets through what its HTTP client raises
            raise OSError(f"{self._dataset}: {error}") from None
        # What this machine wrote itself is as long at least.
        files = {path.name: path for folder in (copy, self.folder) for path in folder.glob(FILES)}
        return [path for _, path in sorted(files.items())]

    def push(self) -> None:
        if self._scheduler:
            self._scheduler.trigger()

    def close(self) -> None:
        if self._scheduler:
            try:
                self._scheduler.trigger().result(LAST_PUSH_S)
            except TimeoutError:
                logger.warning("the mirror's last lines were not committed before the process ended")
            self._scheduler.stop()

    def _new_scheduler(self, api: HfApi) -> CommitScheduler:
        from huggingface_hub import CommitScheduler

        trouble = self.trouble

        class Scheduler(CommitScheduler):  # type: ignore[misc]
            def push_to_hub(self) -> Any:
                try:
                    commit = super().push_to_hub()
                except Exception as error:  # whatever it was, the next commit makes up for it
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
