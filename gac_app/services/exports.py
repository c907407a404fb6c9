"""Exports and imports of votes and runs: a visitor's own, or everything for the operator."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from gac_app.arena.exports import written
from gac_app.arena.formats import Format
from gac_app.arena.judged import judged
from gac_app.arena.outcomes import SIDES, Kind, Origin, Outcome
from gac_app.errors import RequestError
from gac_app.storage import RunStatus, Store, StoredBattle

NO_LINE = "is no run and no battle as `export` writes them"


class Exports:
    """Writes stored runs and votes to files, and reads JSON Lines back.

    Args:
        sealed: gives the ids of battles that must not be exported yet.
    """

    def __init__(self, store: Store, sealed: Callable[[], frozenset[str]] = frozenset) -> None:
        self._store = store
        self._sealed = sealed

    def everything(self, wanted: str) -> tuple[str, bytes]:
        """A file of all votes, without battles that can still be judged. Raises RequestError: no such format."""
        try:
            chosen = Format(wanted)
        except ValueError:
            raise RequestError("format", f"expected one of {', '.join(Format)}") from None
        return f"gac-votes-{chosen}.{chosen.suffix}", self.content(
            chosen, (Origin.PEOPLE, Origin.COMPARE), self._sealed()
        )

    def lines(self) -> Iterator[str]:
        """All runs, then all battles: a JSON object and a line end each."""
        yield from (json.dumps(run) + "\n" for run in self._store.export())
        yield from map(_line, self._store.battles.export())

    def content(self, wanted: Format, origins: Iterable[Origin], without: Collection[str] = ()) -> bytes:
        """A file of the votes of some origins, without some battles."""
        chosen, battles = set(origins), self._store.battles.export()
        return content_of((one for one in battles if one.origin in chosen and one.battle_id not in without), wanted)

    def run_lines(self, run_id: str) -> list[tuple[str, str]]:
        """The ids and lines of a run that has ended and of its battles, if its visitor agrees to publishing."""
        run = self._store.exported_run(run_id)
        if run is None or not run.get("consent") or run["status"] == RunStatus.RUNNING:
            return []
        battles = [(battle.battle_id, _line(battle)) for battle in self._store.battles.of_run(run_id)]
        return [(run_id, json.dumps(run) + "\n"), *battles]

    def battle_lines(self, battle_id: str) -> list[tuple[str, str]]:
        """A battle on which a vote stands, as `run_lines` does a run."""
        battle = self._store.battles.find(battle_id)
        return [(battle_id, _line(battle))] if battle and _may_be_told(battle) else []

    def agreed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Ids of what `run_lines` and `battle_lines` have lines of, with as much of those as `stamp_of` needs."""
        yield from ((line["run_id"], line) for line in self._store.agreed_runs())
        for battle in self._store.battles.export():
            if battle.run_id is None and _may_be_told(battle):
                yield battle.battle_id, asdict(battle)

    def check_storage(self) -> None:
        """Raise StorageError if the database cannot be written."""
        self._store.check()

    def bring_line(self, text: str | bytes) -> bool:
        """Import a line of JSON. Returns whether it was new. Raises RequestError, StorageError."""
        try:
            line: dict[str, Any] = json.loads(text)
            if "battle_id" in line:
                return self._store.battles.add(_battle(line)).result()
            return self._store.import_run(line).result()
        except (AttributeError, LookupError, TypeError, ValueError):
            raise RequestError("line", NO_LINE) from None


def content_of(battles: Iterable[StoredBattle], wanted: Format) -> bytes:
    """A file of battles."""
    if wanted is Format.JSONL:
        return "".join(map(_line, battles)).encode()
    return written(judged(battles), wanted)


def _may_be_told(battle: StoredBattle) -> bool:
    """Whether a vote stands, and its visitor agrees that it is handed on."""
    return bool(battle.outcome and battle.body.get("consent"))


def _line(battle: StoredBattle) -> str:
    return json.dumps(asdict(battle)) + "\n"


def _check_facts(facts: dict[str, Any]) -> None:
    """Raise if values that leaderboards sum are not numbers."""
    numbers = [facts.get("turn", 1), *(number for side in SIDES for number in facts.get(side, {}).values())]
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError
    " ".join(facts.get("flags", []))


def _battle(line: dict[str, Any]) -> StoredBattle:
    """A battle from its line. Raises ValueError, LookupError or TypeError if it would break its readers."""
    Origin(line["origin"])
    for row in line["judgements"]:
        if Kind(row["kind"]) is Kind.VOTE:
            Outcome(row["outcome"])
            _check_facts(row["facts"])
    return StoredBattle(**{**line, "judgements": tuple(line["judgements"])})
