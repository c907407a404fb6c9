"""The mirror: votes that visitors agreed to publish, as JSON Lines in a folder, which a dataset of the Hub may follow.

A vote is written as its battle, in the format of `export`. Each process appends to a file of its own, and at its start
reads the files of all, so that the leaderboard outlives a disk that does not last. A line names what was deleted; the
deleted lines are overwritten with spaces soon after, in the files on this machine.

One thread does this. Where it fails, nobody waits: what is to be written stays in the queue and is tried again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from gac_app.errors import DamagedError, Phrase, StorageError, without_folders
from gac_app.folders import sync_names
from gac_app.recent import Recent
from gac_app.services.mirror.dataset import FILES, Dataset
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import deletion_line, erase, import_indexed, index_of
from gac_app.storage import Store, Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 100_000  # ids
MAX_WRITTEN = 10_000  # ids of this process's lines, of which others on the database may delete some
ERASE_EVERY_S = 60.0  # at most so often
ERASING = 0.1  # of the time, at most, goes into erasing
FIRST_DELAY_S, MAX_DELAY_S = 1.0, 60.0  # until it is tried again
BURIED_AT_ONCE = 2000  # ids in a statement
MAX_REST_S = 0.5
CLOSE_S = 2.0


class Mirror:
    """Writes what the store tells it as its `Observer`, and reads back what was written before.

    Args:
        folder: has the files. It is created, but its parent must exist, as it may be mounted.
        dataset: gets this process's file, and has those of all; None = `folder` has them.
        first_delay_s: before the first retry; doubled each time, up to `MAX_DELAY_S`.

    Attributes:
        is_restored: whether the files are read.
        is_failing: whether the last try failed.
        num_errors: failures so far.
    """

    def __init__(
        self, store: Store, folder: Path, dataset: Dataset | None = None, first_delay_s: float = FIRST_DELAY_S
    ) -> None:
        self.is_restored = self.is_failing = False
        self.num_errors = 0
        self._store, self._folder, self._dataset = store, folder, dataset
        self._exports = Exports(store)
        begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")  # a restart within a second comes later
        self._path = folder / f"gac-{begun}-{uuid.uuid4().hex}.jsonl"
        self._waiting: dict[str, None] = {}  # ids of battles, in order
        self._is_writing = False  # another one
        self._deletions: list[Sequence[str]] = []  # that no line names yet
        self._erased_next = set[str]()  # ids that a line names
        self._written: Recent[str, None] = Recent(MAX_WRITTEN)
        self._lock = threading.Lock()
        self._file = threading.Lock()
        self._is_torn = False  # the last line may lack its end
        self._erases_from = self._stepped_at = 0.0
        self._worker = Worker("gac-mirror", self._work, (first_delay_s, MAX_DELAY_S), lambda: ERASE_EVERY_S)

    def start(self) -> None:
        """Read the files and write what comes from now on, in the background."""
        self._store.observer = self
        self._worker.start()
        self._worker.wake()

    # --- called by the store; must not wait

    def changed(self, battle_id: str) -> None:
        with self._lock:
            if len(self._waiting) < MAX_WAITING:
                self._waiting[battle_id] = None
        self._worker.wake()

    def deleted(self, ids: Sequence[str]) -> None:
        if ids:
            self._deletions.append(ids)
            self._worker.wake()

    # --- called by others

    @property
    def num_waiting(self) -> int:
        """Votes and deletions that are not in the file yet."""
        return len(self._waiting) + self._is_writing + len(self._deletions)

    def flush_deletions(self) -> None:
        """Wait until a line names all deletions. Raises StorageError if that fails, or the last commit did."""
        has_failed = self._dataset is not None and self._dataset.has_failed
        try:
            self._name_deletions()
        except OSError as error:
            self._note(error)
            has_failed = True
        if has_failed:
            raise StorageError(Phrase("Deleted here. The exported copy could not be marked yet; that is tried again."))

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._worker.close(timeout_s)
        if self._dataset:
            self._dataset.close()

    # --- in the thread

    def _work(self, is_last: bool) -> bool:
        try:
            self._name_deletions()
            self._write_votes()
            self._erase(is_last)
            if not (is_last or self.is_restored):
                self._restore()
        except Exception as error:  # of any kind: nobody would notice if this thread ended
            self._note(error)
            return False
        self.is_failing = False
        return True

    def _note(self, error: Exception) -> None:
        """Count a failure, and log the first one after a success."""
        self.num_errors += 1
        if not self.is_failing:
            self.is_failing = True
            is_known = isinstance(error, OSError | StorageError)  # any other one's message may have a visitor's text
            why = without_folders(str(error)) if is_known else type(error).__name__
            logger.error("the mirror cannot be used; it is tried again: %s", why)

    def _name_deletions(self) -> None:
        with self._file:
            while self._deletions:
                ids = self._deletions[0]
                self._append(deletion_line(ids))
                self._erased_next.update(ids)
                del self._deletions[0]

    def _write_votes(self) -> None:
        """Write the votes that wait. What is not written because of an error stays."""
        while True:
            with self._lock:
                battle_id = next(iter(self._waiting), "")
                self._is_writing = bool(battle_id)
                self._waiting.pop(battle_id, None)
            if not battle_id:
                return
            try:
                if line := self._exports.published(battle_id):
                    with self._file:
                        self._append(line)
                    self._written[battle_id] = None
            except DamagedError:
                continue  # its owner is told on opening it
            except (OSError, StorageError):
                with self._lock:
                    self._waiting.setdefault(battle_id)
                    self._is_writing = False
                raise

    def _erase(self, is_last: bool) -> None:
        """Overwrite the lines of what is deleted, also on other servers, all in one reading of the files."""
        if (begun := time.monotonic()) < self._erases_from and not is_last:
            return
        keys = self._erased_next | self._store.deleted_ids([*self._written])
        if keys:
            erase(self._folder.glob(FILES), keys)
        with self._file:
            self._erased_next -= keys
        for key in keys & self._written.keys():
            del self._written[key]
        self._erases_from = (ended := time.monotonic()) + max(ERASE_EVERY_S, (ended - begun) / ERASING)

    def _restore(self) -> None:
        """Bring what the files tell into the database, and what it knows beyond them into the file."""
        self._stepped_at = time.monotonic()
        with ExitStack() as fetched:
            folders = [fetched.enter_context(self._dataset.fetched())] if self._dataset else []
            self._prepare()
            # This process's files are at least as long as their copies.
            found = {path.name: path for folder in (*folders, self._folder) for path in folder.glob(FILES)}
            index = index_of([path for _, path in sorted(found.items())], self._goes_on)
            index.keep_battles()  # earlier releases published runs, too
            if self._worker.is_closed:
                return  # the index may lack deletions and newer lines
            known = self._store.deleted_ids()
            new = sorted(index.deleted - known)  # of a database that was lost: no older export may bring them back
            for first in range(0, len(new), BURIED_AT_ONCE):
                self._store.bury(new[first : first + BURIED_AT_ONCE]).result()
            self._erased_next |= index.deleted | known  # a process may have ended before; a migration erases nothing
            self.deleted(sorted(index.places.keys() & known - index.deleted))
            result = import_indexed(self._store, index, self._goes_on)
        if self._worker.is_closed:
            return
        logger.info("read from the mirror: %s", result)
        if result.num_bad:
            logger.warning("bad lines of the mirror were skipped: %s", result.reasons.replace("\n", "; "))
        for battle_id in self._store.battles.agreed():
            if battle_id not in index.places and battle_id not in index.deleted:
                self.changed(battle_id)
        self._erases_from = 0.0
        self.is_restored = True
        self._worker.wake()

    def _goes_on(self) -> bool:
        """Rest as long as the last step took, since visitors come first; whether to go on."""
        time.sleep(min(MAX_REST_S, time.monotonic() - self._stepped_at))
        self._stepped_at = time.monotonic()
        return not self._worker.is_closed

    def _prepare(self) -> None:
        """Make the folder if it is missing. Raises OSError."""
        self._folder.mkdir(parents=self._dataset is not None, exist_ok=True)

    def _append(self, line: str) -> None:
        """Append to the file and sync it to disk. Raises OSError."""
        content = ("\n" if self._is_torn else "") + line
        self._prepare()
        self._is_torn = True
        with self._path.open("ab") as file:
            is_new = not file.tell()
            file.write(content.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_names(self._path.parent)
        self._is_torn = False
