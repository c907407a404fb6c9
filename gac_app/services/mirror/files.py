"""Imports a mirror's files, or any JSON Lines in the format of `export`.

If a run or a battle occurs several times, the last line counts; of a battle, the last of those with most judgements. A
line `{"deleted": [ids]}` excludes these ids, wherever they occur. A line that is none of these is counted, named and
skipped; a blank one is nothing. Files are read twice, so that no text stays in memory.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import orjson

from gac_app.errors import RequestError, StorageError
from gac_app.services.mirror.lines import MAX_LINE_BYTES, Line, checked_before, deleted_in, line_of
from gac_app.storage import Store, StoredBattle

_AT_ONCE, _BYTES_AT_ONCE = 2000, 8 * 2**20  # lines of a transaction; visitors' writes wait for it
_MAX_NAMED = 20  # bad lines
_CHUNK_BYTES = 2**20
_HEAD = re.compile(rb'\{"(?:battle|run)_id": "([0-9a-f]{32})"')  # with which `written_line` begins
_HEAD_BYTES = 48  # at most

GoesOn = Callable[[], bool]  # whether to go on


class _Place(NamedTuple):
    """The place of a line. Places sort in the order of import: runs before battles, parents before children.

    `number` counts lines from 1; `num_judgements` is the battle's; `digest` is that of the line's text.
    """

    is_battle: bool
    created_at: str
    path: Path
    offset: int
    number: int
    num_judgements: int
    digest: int


@dataclass(slots=True)
class Index:
    """What files hold: `places` by id, ids that are marked as deleted, and bad lines, the first of them named."""

    places: dict[str, _Place] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    num_bad: int = 0
    _named: list[str] = field(default_factory=list)

    def note_bad(self, path: Path, number: int, reason: str) -> None:
        self.num_bad += 1
        if len(self._named) < _MAX_NAMED:
            self._named.append(f"{path.name}, line {number}: {reason}")

    @property
    def reasons(self) -> str:
        more = self.num_bad - len(self._named)
        return "\n".join([*self._named, *([f"and {more:,} more"] if more else [])])

    def keep_battles(self) -> None:
        """Leave runs out."""
        self.places = {key: place for key, place in self.places.items() if place.is_battle}


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import: runs and battles that were new, known or deleted, and lines that were skipped, with the
    reasons for the first ones.
    """

    num_new: int
    num_known: int
    num_withheld: int
    num_bad: int
    reasons: str = field(default="", compare=False)

    def __str__(self) -> str:
        rare = {"deleted": self.num_withheld, "skipped": self.num_bad}
        told = [f"{self.num_new:,} new", f"{self.num_known:,} known already"]
        return ", ".join([*told, *(f"{count:,} {what}" for what, count in rare.items() if count)])


def deletion_line(ids: Sequence[str]) -> str:
    """A line that marks runs and battles as deleted."""
    return json.dumps({"deleted": ids}) + "\n"


def erase(paths: Iterable[Path], keys: Collection[str]) -> None:
    """Overwrite all lines of runs and battles with spaces. No other line moves, so that other processes may read and
    append meanwhile. Raises OSError.
    """
    for path in paths:
        found = [(offset, len(text.rstrip(b"\n"))) for offset, _, text in _lines(path) if _key_of(text) in keys]
        if found:
            with path.open("r+b") as file:
                for first in (_HEAD_BYTES, 0):  # the id last: by it a line is found if this process is killed amid it
                    for offset, num_bytes in found:
                        file.seek(offset + first)
                        file.write(b" " * (num_bytes - first))
                    file.flush()
                    os.fsync(file.fileno())


def _key_of(text: bytes) -> str | None:
    """The id of a line, also of one that was cut off or half overwritten."""
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError:
        head = _HEAD.match(text)
        return head[1].decode() if head else None
    key = (line.get("battle_id") or line.get("run_id")) if isinstance(line, dict) else None
    return key if isinstance(key, str) else None


def import_files(store: Store, paths: Sequence[Path]) -> ImportResult:
    """Import what the database lacks. Importing the same files again changes nothing.

    Args:
        paths: the older ones first.

    Raises:
        StorageError: the database failed; lines imported before stay.
        OSError: a file cannot be read.
    """
    return import_indexed(store, index_of(paths))


def _always() -> bool:
    return True


def import_indexed(store: Store, index: Index, goes_on: GoesOn = _always) -> ImportResult:
    """As `import_files`, of files that were read once."""
    places = sorted(place for key, place in index.places.items() if key not in index.deleted)
    num_new = num_gone = 0
    num_bad = index.num_bad
    for batch in _batches(places, index):
        new, gone = _import_batch(store, batch, index)
        num_new, num_gone = num_new + new, num_gone + gone
        if not goes_on():
            break
    num_known = len(places) - (index.num_bad - num_bad) - num_new - num_gone
    num_withheld = len(index.places) - len(places) + num_gone
    return ImportResult(num_new, num_known, num_withheld, index.num_bad, index.reasons)


def _import_batch(store: Store, batch: Sequence[tuple[_Place, Line]], index: Index) -> tuple[int, int]:
    """The numbers of new and of withheld ones. What the database refuses is tried again line by line."""
    runs = [line for place, line in batch if not place.is_battle]
    lines = [line for place, line in batch if place.is_battle]
    battles = [StoredBattle(**{**line, "judgements": tuple(line["judgements"])}) for line in lines]
    try:
        return store.import_records(runs, battles).result()
    except StorageError as error:
        store.check()  # raises if the database fails, not only these lines
        if len(batch) == 1:
            place, _ = batch[0]
            index.note_bad(place.path, place.number, str(error))
            return 0, 0
    counts = [_import_batch(store, [one], index) for one in batch]
    return sum(new for new, _ in counts), sum(gone for _, gone in counts)


def _batches(places: Sequence[_Place], index: Index) -> Iterator[list[tuple[_Place, Line]]]:
    """The lines at places, as many together as a transaction takes."""
    batch: list[tuple[_Place, Line]] = []
    num_bytes = 0
    for place, text in _texts(places):
        if hash(text) == place.digest:
            batch.append((place, checked_before(text)))
        else:
            index.note_bad(place.path, place.number, "was changed while the file was read")
        num_bytes += len(text)
        if len(batch) >= _AT_ONCE or num_bytes >= _BYTES_AT_ONCE:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _texts(places: Sequence[_Place]) -> Iterator[tuple[_Place, bytes]]:
    """The text of every place, in order; mostly places of one file follow each other."""
    for path, here in groupby(places, attrgetter("path")):
        with path.open("rb") as file:
            for place in here:
                file.seek(place.offset)
                yield place, file.readline(MAX_LINE_BYTES + 1)


def index_of(paths: Sequence[Path], goes_on: GoesOn = _always) -> Index:
    """What files hold; raises as `import_files` does."""
    index = Index()
    num_done = 0
    for path in paths:
        for offset, number, text in _lines(path):
            num_done += 1
            if num_done % _AT_ONCE == 0 and not goes_on():
                return index
            try:
                line = line_of(text)
            except RequestError as error:
                index.note_bad(path, number, error.message)
                continue
            if "deleted" in line:
                index.deleted.update(deleted_in(line))
            else:
                is_battle = "battle_id" in line
                key = line["battle_id" if is_battle else "run_id"]
                num_judgements = len(line.get("judgements", ()))
                if key in index.places and num_judgements < index.places[key].num_judgements:
                    continue  # judgements are only added, maybe by another server, in an older file
                created_at = str(line.get("created_at"))
                index.places[key] = _Place(is_battle, created_at, path, offset, number, num_judgements, hash(text))
    return index


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number and text of every line that is not blank. Of longer lines than may be, only the beginning."""
    offset = number = 0
    with path.open("rb") as file:
        while text := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if not text.isspace():
                yield offset, number, text
            part = text
            while part and not part.endswith(b"\n"):
                part = file.readline(_CHUNK_BYTES)
                offset += len(part)
            offset += len(text)
