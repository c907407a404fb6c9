"""Imports a mirror's files, or any JSON Lines in the format of `export`.

If a run or a battle occurs several times, the last line counts. A line `{"deleted": {"runs": [ids], "battles": [ids]}}`
excludes these ids, wherever they occur. Files are read twice, so that no text stays in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gac_app.errors import RequestError, StorageError
from gac_app.services.exports import NO_LINE, Exports
from gac_app.storage import Gone


class _Place(NamedTuple):
    """The place of a line. Places sort in the order of import: runs before battles, parents before children.

    `number` counts lines from 1.
    """

    is_battle: bool
    created_at: str
    path: Path
    offset: int
    number: int


@dataclass(slots=True)
class _Index:
    """The contents of files: `places` by id, and `num_unreadable` lines."""

    places: dict[str, _Place] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    num_unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Brought:
    """The result of an import: runs and battles that were new, known or deleted, and unreadable lines."""

    num_new: int
    num_known: int
    num_withheld: int
    num_unreadable: int

    def __str__(self) -> str:
        rare = {"deleted": self.num_withheld, "unreadable": self.num_unreadable}
        told = [f"{self.num_new:,} new", f"{self.num_known:,} known already"]
        return ", ".join([*told, *(f"{count:,} {what}" for what, count in rare.items() if count)])


def deletion_line(gone: Gone) -> str:
    """A line that marks runs and battles as deleted."""
    return json.dumps({"deleted": {"runs": gone.run_ids, "battles": gone.battle_ids}}) + "\n"


def bring_files(exports: Exports, paths: Sequence[Path], *, is_strict: bool) -> Brought:
    """Import what the database lacks. Importing the same files again changes nothing.

    Args:
        paths: the older ones first.
        is_strict: an unreadable line is an error. Otherwise it is counted: a process may have died while writing it.

    Raises:
        RequestError: naming the line.
        StorageError: the database failed; lines imported before stay.
        OSError: a file cannot be read.
    """
    index = _index_of(paths, is_strict=is_strict)
    places = sorted(place for key, place in index.places.items() if key not in index.deleted)
    num_new = num_bad = 0
    for place in places:
        with place.path.open("rb") as file:
            file.seek(place.offset)
            text = file.readline()
        try:
            num_new += exports.bring_line(text)
        except RequestError as error:
            if is_strict:
                raise RequestError(_named(place.path, place.number), error.message) from None
            num_bad += 1
        except StorageError:
            exports.check_storage()  # raises if the database fails, not only this line
            num_bad += 1
    num_withheld = len(index.places) - len(places)
    return Brought(num_new, len(places) - num_new - num_bad, num_withheld, index.num_unreadable + num_bad)


def _index_of(paths: Sequence[Path], *, is_strict: bool) -> _Index:
    index = _Index()
    for path in paths:
        for offset, number, text in _lines(path):
            try:
                line = json.loads(text)
                if gone := line.get("deleted"):
                    index.deleted.update(map(str, (*gone["runs"], *gone["battles"])))
                else:
                    is_battle = "battle_id" in line
                    key = line["battle_id" if is_battle else "run_id"]
                    index.places[str(key)] = _Place(is_battle, str(line.get("created_at")), path, offset, number)
            except (AttributeError, LookupError, TypeError, ValueError):
                if is_strict:
                    raise RequestError(_named(path, number), NO_LINE) from None
                index.num_unreadable += 1
    return index


def _named(path: Path, number: int) -> str:
    return f"{path.name}, line {number}"


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Offset, number and text of every line that is not blank."""
    offset = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield offset, number, text
            offset += len(text)
