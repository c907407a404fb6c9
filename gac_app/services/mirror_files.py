"""Imports a mirror's files, or any JSON Lines in the format of `export`.

If a run or a battle occurs several times, the last line counts. A line `{"deleted": {"runs": [ids], "battles": [ids]}}`
excludes these ids, wherever they occur. Files are read twice, so that no text stays in memory.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gac_app.errors import RequestError, StorageError
from gac_app.services.exports import NO_LINE, Exports
from gac_app.storage import Gone


class _Place(NamedTuple):
    """The place of a line. Places sort in the order of import: runs before battles, parents before children.

    `number` counts lines from 1; `stamp` is the line's, see `stamp_of`.
    """

    is_battle: bool
    created_at: str
    path: Path
    offset: int
    number: int
    stamp: str


@dataclass(slots=True)
class Index:
    """What files hold. `places` by id; `num_unreadable` lines are none of these."""

    places: dict[str, _Place] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    num_unreadable: int = 0

    def lacks(self, key: str, line: Mapping[str, Any]) -> bool:
        """Whether the files tell nothing, or something older, of a run or battle that they do not withhold."""
        is_there = key in self.places and self.places[key].stamp == stamp_of(line)
        return not is_there and key not in self.deleted


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


def stamp_of(line: Mapping[str, Any]) -> str:
    """Another one whenever the run's end or vote, or the battle's judgements, have changed."""
    if "battle_id" in line:
        return str(len(line["judgements"]))
    return f"{line.get('finished_at')} {(line.get('vote') or {}).get('created_at')}"


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
    return bring(exports, index_of(paths, is_strict=is_strict), is_strict=is_strict)


def bring(exports: Exports, index: Index, *, is_strict: bool, withheld: Collection[str] = ()) -> Brought:
    """As `bring_files`, of files that were read once.

    Args:
        withheld: ids of what is deleted meanwhile; may grow.
    """
    places = sorted((place, key) for key, place in index.places.items() if key not in index.deleted)
    num_new = num_bad = num_gone = 0
    for place, key in places:
        if key in withheld:
            num_gone += 1
            continue
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
    num_withheld = len(index.places) - len(places) + num_gone
    num_known = len(places) - num_gone - num_new - num_bad
    return Brought(num_new, num_known, num_withheld, index.num_unreadable + num_bad)


def index_of(paths: Sequence[Path], *, is_strict: bool) -> Index:
    """What files hold; raises as `bring_files` does."""
    index = Index()
    for path in paths:
        for offset, number, text in _lines(path):
            try:
                line = json.loads(text)
                if gone := line.get("deleted"):
                    index.deleted.update(map(str, (*gone["runs"], *gone["battles"])))
                else:
                    is_battle = "battle_id" in line
                    key = line["battle_id" if is_battle else "run_id"]
                    created_at, stamp = str(line.get("created_at")), stamp_of(line)
                    index.places[str(key)] = _Place(is_battle, created_at, path, offset, number, stamp)
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
