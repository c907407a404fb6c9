"""The mirror: runs, votes and battles that visitors agree to publish, appended as JSON Lines to files.

A database on a disk that does not last is filled from it at the start; one that lasts is searched for what the files
lack, because a process was killed. Lines are those of `export`, appended to a file by one process. A line says what is
deleted, and nothing tells of it from then on; its own lines are overwritten with spaces soon after, in the files that
are on this machine.

It reads the database in a thread of its own, and the files in another one. Where it fails, nobody waits: what is to be
written stays in the queue, by its id, and is tried again. A battle is copied once it has a vote.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import blake2b

from gac_app.errors import DamagedError, Phrase, StorageError
from gac_app.folders import sync_names
from gac_app.recent import Recent
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import deletion_line, erase, import_indexed, index_of
from gac_app.services.mirror.places import FILES, Place, Trouble
from gac_app.storage import DeletedIds, Store, Worker

logger = logging.getLogger(__name__)

MAX_WAITING = 100_000  # ids
MAX_WRITTEN = 10_000  # ids whose last line is known, so that it is not written twice in a row
COPY_AGAIN_S, FIRST_COPIES = 60.0, 4  # an id is copied so often without delay, then once in so long
ERASE_EVERY_S = 1.0  # at most so often
ASK_EVERY_S = 60.0  # what other servers on the database have deleted
ERASING = 0.1  # of the time, at most, goes into erasing
FIRST_DELAY_S, MAX_DELAY_S = 1.0, 60.0  # until it is tried again
PROGRESS_S = 10.0  # between lines of the log that tell how far reading is
BURIED_AT_ONCE = 2000  # ids in a statement
MAX_REST_S = 0.5
CLOSE_S, READ_END_S = 2.0, 0.5
_NEVER = b"", -math.inf


class Mirror:
    """Copies finished and judged runs and battles, and marks deletions. Being an `Observer`, it is told of both.

    Args:
        place: keeps the files.
        first_delay_s: before the first retry; doubled each time, up to `MAX_DELAY_S`.

    Attributes:
        is_restored: whether all that the files tell is in the database.
        progress: while that is being read: how many lines of how many (0 = not known yet).
    """

    def __init__(self, store: Store, place: Place, first_delay_s: float = FIRST_DELAY_S) -> None:
        self.is_restored = False
        self.progress = 0, 0
        self._store, self._place = store, place
        self._trouble = Trouble("the mirror cannot be written")
        self._reading_trouble = Trouble("the mirror cannot be read")
        self._exports = Exports(store)
        begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")  # a restart within a second comes later
        self._path = place.folder / f"gac-{begun}-{uuid.uuid4().hex}.jsonl"
        self._waiting: dict[str, None] = {}  # ids, in order
        self._is_copying = False
        self._deletions: list[DeletedIds] = []  # to be marked
        self._erased_next = set[str]()  # ids that are marked, and whose lines are still there
        # id -> digest of its last line, and when it may be copied again
        self._written: Recent[str, tuple[bytes, float]] = Recent(MAX_WRITTEN)
        self._lock = threading.Lock()
        self._file = threading.Lock()
        self._is_torn = False  # the last line may lack its end
        self._told_at = self._stepped_at = self._erased_at = self._asked_at = 0.0
        pauses_s = first_delay_s, MAX_DELAY_S
        self._reader = Worker("gac-mirror-reader", self._read, pauses_s)  # the Hub may take minutes
        self._worker = Worker(
            "gac-mirror",
            self._work,
            pauses_s,
            lambda: ERASE_EVERY_S if self._erased_next or self._waiting else ASK_EVERY_S,
        )

    def start(self) -> None:
        """Copy runs, votes and battles from now on, in the background."""
        self._store.observer = self
        self._worker.start()
        self._reader.start()

    def read(self) -> None:
        """Fill the database from the files, in the background."""
        self._reader.wake()

    # --- called by the store; must not wait

    def changed(self, key: str) -> None:
        with self._lock:
            if len(self._waiting) < MAX_WAITING:
                self._waiting[key] = None
        self._worker.wake()

    def deleted(self, gone: DeletedIds) -> None:
        if gone != DeletedIds():
            self._deletions.append(gone)
            self._worker.wake()

    # --- called by others

    @property
    def num_waiting(self) -> int:
        """Runs, battles and deletions that are not in the file yet, and what is to be erased."""
        num_copied_next = len(self._waiting) + self._is_copying
        return num_copied_next + len(self._deletions) + len(self._erased_next)

    @property
    def is_away(self) -> bool:
        """Whether the files could not be read the last time."""
        return self._reading_trouble.is_on

    @property
    def num_errors(self) -> int:
        """Number of failures so far."""
        return sum(one.num_errors for one in (self._trouble, self._reading_trouble, self._place.trouble))

    def settle_deletions(self) -> None:
        """Wait until all deletions are marked. Raises StorageError if that or the last commit failed; it is retried."""
        has_failed = self._place.trouble.is_on
        try:
            self._mark_gone()
            self._place.push()
        except OSError as error:
            self._trouble.note(error)
            has_failed = True
        if has_failed:
            raise StorageError(Phrase("Deleted here. The exported copy could not be marked yet; that is tried again."))

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write pending lines, for at most `timeout_s`."""
        self._reader.close(READ_END_S)
        self._worker.close(timeout_s)
        self._place.close()

    # --- in the mirror's thread

    def _work(self, _is_last: bool) -> bool:
        try:
            try:
                self._catch_up()
            finally:
                self._erase()  # even while nothing can be copied or read
        except Exception as error:  # of any kind: nobody would notice if this thread ended
            self._trouble.note(error)
            return False
        self._trouble.over()
        return True

    def _catch_up(self) -> None:
        """Write everything pending. Raises OSError, StorageError; what is not written stays pending."""
        self._mark_gone()
        while key := self._next():
            try:
                self._copy(self._exports.lines_of(key))
            except DamagedError:
                continue  # its owner is told on opening it
            except (OSError, StorageError):
                with self._lock:
                    self._waiting.setdefault(key)
                raise

    def _next(self) -> str:
        """The id that has waited longest of those that may be copied now; "" = there is none."""
        now = math.inf if self._worker.is_closed else time.monotonic()
        with self._lock:
            key = next((one for one in self._waiting if self._written.get(one, _NEVER)[1] <= now), "")
            self._is_copying = bool(key)
            self._waiting.pop(key, None)
            return key

    # --- in the reader's thread

    def _read(self, is_last: bool) -> bool:
        try:
            if not (is_last or self.is_restored):
                self._restore()
        except Exception as error:  # as in `_work`
            if not self._reader.is_closed:
                self._reading_trouble.note(error)
            return False
        self._reading_trouble.over()
        return True

    def _restore(self) -> None:
        self._told_at = self._stepped_at = time.monotonic()
        index = index_of(self._place.fetch(), self._note_progress)
        if self._reader.is_closed:
            return  # the index may lack deletions and newer lines
        known = self._store.deleted_ids()
        new = sorted(index.deleted - known)  # of a database that was lost: no older export may bring them back
        for first in range(0, len(new), BURIED_AT_ONCE):
            self._store.bury(new[first : first + BURIED_AT_ONCE]).result()
        gone = index.unmarked(known)
        if gone != DeletedIds():
            self.deleted(gone)
            self._mark_gone()
            self._place.push()
        # A process was killed before it did; amid it, or amid a line, if there are bad ones.
        self._erased_next.update(index.deleted if index.num_bad else index.deleted & index.places.keys())
        self._worker.wake()
        result = import_indexed(self._store, index, self._note_progress)
        if self._reader.is_closed:
            return
        logger.info("read from the mirror: %s", result)
        if result.num_bad:
            logger.warning("bad lines of the mirror were skipped: %s", result.reasons.replace("\n", "; "))
        for key, stamp in self._exports.agreed():
            if index.lacks(key, stamp):
                self.changed(key)
        self._copy_again(one for one in index.with_earlier_turns if not index.places[one].is_battle)
        self._place.discard_fetched()
        self.is_restored = True

    def _copy_again(self, run_ids: Iterable[str]) -> None:
        """Copy runs with their battles, and erase their lines in the files of other processes."""
        copied = set[str]()
        for run_id in run_ids:
            with suppress(DamagedError):
                found = self._exports.lines_of(run_id)
                self._copy(found)
                self.changed(run_id)  # the other thread may have copied a newer one before
                copied.update(key for key, _ in found)
        others = (path for path in self._place.folder.glob(FILES) if path != self._path)
        if copied and erase(others, copied):
            self._place.push()

    def _note_progress(self, num_done: int, num: int) -> bool:
        """Note how far reading is, and rest as long as the last step took: visitors come first."""
        now = time.monotonic()
        if num and now > self._told_at + PROGRESS_S:
            logger.info("reading the mirror: %s of %s", f"{num_done:,}", f"{num:,}")
            self._told_at = now
        self.progress = num_done, num
        time.sleep(min(MAX_REST_S, now - self._stepped_at))
        self._stepped_at = time.monotonic()
        return not self._reader.is_closed

    def _copy(self, lines: list[tuple[str, str]]) -> None:
        for key, line in lines:
            digest = blake2b(line.encode(), digest_size=8).digest()
            with self._file:
                before, free_at = self._written.get(key, _NEVER)
                if before != digest and not self._store.deleted_ids([key]):
                    self._append(line)
                    free_at = max(free_at, time.monotonic() - (FIRST_COPIES - 1) * COPY_AGAIN_S) + COPY_AGAIN_S
                    self._written[key] = digest, free_at

    def _mark_gone(self) -> None:
        with self._file:
            while self._deletions:
                gone = self._deletions[0]
                self._append(deletion_line(gone))
                self._erased_next.update(gone.run_ids, gone.battle_ids)
                del self._deletions[0]

    def _erase(self) -> None:
        """Take what is deleted out of the files, all of it in one reading, some time after the one before.
        Raises OSError; it is tried again.
        """
        keys, begun = self._erased_next.copy(), time.monotonic()
        if keys and (begun >= self._erased_at or self._worker.is_closed):
            if erase(self._place.folder.glob(FILES), keys):
                self._place.push()
            self._erased_next.difference_update(keys)
            self._erased_at = (ended := time.monotonic()) + max(ERASE_EVERY_S, (ended - begun) / ERASING)
        if begun >= self._asked_at:
            self._asked_at = begun + ASK_EVERY_S
            with self._file:
                gone = self._store.deleted_ids([*self._written])
                for key in gone:
                    del self._written[key]
            self._erased_next.update(gone)

    def _append(self, line: str) -> None:
        """Append to the file and sync it to disk. Raises OSError."""
        content = ("\n" if self._is_torn else "") + line
        self._place.prepare()
        self._is_torn = True
        with self._path.open("ab") as file:
            is_new = not file.tell()
            file.write(content.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync_names(self._path.parent)
        self._is_torn = False
