"""Exports of votes and runs: a visitor's own, or everything for the operator."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from gac_app.arena.outcomes import Origin
from gac_app.errors import RequestError
from gac_app.services.exports.formats import Format, parts
from gac_app.services.exports.judged import judged
from gac_app.services.mirror.lines import written_line
from gac_app.storage import RunStatus, Store, StoredBattle

logger = logging.getLogger(__name__)


class Exports:
    """Writes stored runs and votes to files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def everything(self, wanted: str) -> tuple[str, Iterator[bytes]]:
        """The name and the parts of a file of all votes, without battles that can still be judged. Raises RequestError:
        no such format.
        """
        try:
            chosen = Format(wanted)
        except ValueError:
            raise RequestError("format", f"expected one of {', '.join(Format)}") from None
        return f"gac-votes-{chosen}.{chosen.suffix}", self.content(chosen, Origin.PEOPLE)

    def lines(self) -> Iterator[str]:
        """All runs that have ended, then all battles that are not open: a JSON object and a line end each. The others
        are left to a later export, since an import updates no answer that it knows.
        """
        yield from (_run_line(run) for run in self._store.export() if run["status"] != RunStatus.RUNNING)
        yield from _battle_lines(self._store.battles.export())

    def content(self, wanted: Format, origin: Origin) -> Iterator[bytes]:
        """The parts of a file of the votes of an origin, without open battles; read as they are asked for."""
        return _parts((one for one in self._store.battles.export() if one.origin == origin), wanted)

    def published(self, battle_id: str) -> str:
        """The line of a battle that has a vote, if its visitor agreed that it is published; "" otherwise."""
        battle = self._store.battles.find(battle_id)
        is_agreed = battle is not None and battle.outcome and battle.body.get("consent")
        return next(_battle_lines([battle]), "") if battle and is_agreed else ""


def content_of(battles: Iterable[StoredBattle], wanted: Format) -> bytes:
    """A file of battles."""
    return b"".join(_parts(battles, wanted))


def _parts(battles: Iterable[StoredBattle], wanted: Format) -> Iterator[bytes]:
    if wanted is Format.JSONL:
        return map(str.encode, _battle_lines(battles))
    return parts(judged(one for one in battles if any(_battle_lines([one]))), wanted)


def _run_line(run: Mapping[str, Any]) -> str:
    """A run's line; if it would be refused when it comes in, one that says that the run is damaged."""
    try:
        return written_line(run)
    except RequestError as error:
        logger.warning("a run is exported as damaged: %s", error.message)
        return written_line({"run_id": run["run_id"], "status": str(RunStatus.DAMAGED)})


def _battle_lines(battles: Iterable[StoredBattle]) -> Iterator[str]:
    """The battles' lines, without those that would be refused when they come in."""
    for battle in battles:
        try:
            yield written_line(_as_line(battle))
        except RequestError as error:
            logger.warning("a battle is left out of an export: %s", error.message)


def _as_line(battle: StoredBattle) -> dict[str, Any]:
    line = {field.name: getattr(battle, field.name) for field in fields(battle)}
    return {**line, "judgements": list(battle.judgements)}
