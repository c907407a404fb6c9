"""Signals: what a visitor asks on one server of a run or battle that another server answers, or has in memory.

Each server looks for its own every `POLL_S`, which is one query that mostly finds nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from gac_app.storage.battles.queries import get_owned as get_owned_battle
from gac_app.storage.database.database import DeletedIds, server_of
from gac_app.storage.database.engine import reading, writing
from gac_app.storage.database.repeater import Repeater
from gac_app.storage.database.tables import Server, Signal
from gac_app.storage.runs.queries import get_owned as get_owned_run
from gac_app.storage.runs.records import RunStatus

_log = logging.getLogger(__name__)

POLL_S = 1.0


class Wish(StrEnum):
    """`STOP`: end it. `FOLLOW`: a page shows it, so it must not end for want of one. `FORGET`: it is deleted."""

    STOP = "stop"
    FOLLOW = "follow"
    FORGET = "forget"


Tell = Callable[[str, Wish], None]  # of the run's or battle's id


def signal_run(session: Session, visitor_key: str, run_id: str, wish: Wish) -> None:
    """Ask it of the server that answers a visitor's run, if one still does. Raises NotFoundError."""
    run = get_owned_run(session, visitor_key, run_id)
    if run.status == RunStatus.RUNNING:
        _send(session, run.server_id, run.id, wish)


def signal_battle(session: Session, visitor_key: str, battle_id: str, wish: Wish) -> None:
    """As `signal_run`, for a battle; also where it still shows what is answered."""
    battle = get_owned_battle(session, visitor_key, battle_id)
    _send(session, battle.server_id, battle.id, wish)


def forget_elsewhere(session: Session, ids: DeletedIds) -> None:
    """Ask all other servers to keep nothing of what is deleted."""
    others = session.scalars(select(Server.id).where(Server.id != (server_of(session) or ""))).all()
    for other_id in others:
        for subject_id in (*ids.run_ids, *ids.battle_ids):
            _send(session, other_id, subject_id, Wish.FORGET)


def _send(session: Session, server_id: str | None, subject_id: str, wish: Wish) -> None:
    same = {"server_id": server_id, "subject_id": subject_id, "wish": wish}
    if server_id is not None and session.scalar(select(Signal.id).filter_by(**same).limit(1)) is None:
        session.add(Signal(**same))


class Listener(Repeater):
    """Hears a server's signals from a thread, until `stop`.

    Args:
        tell: called with each, in that thread.
    """

    def __init__(self, engine: Engine, server_id: str, tell: Tell) -> None:
        self._engine, self._tell = engine, tell
        self._own = select(Signal).where(Signal.server_id == server_id).order_by(Signal.id)
        super().__init__("gac-signals", POLL_S, self._listen)

    def _listen(self) -> None:
        for subject_id, wish in self._hear():
            try:
                self._tell(subject_id, wish)
            except Exception as error:  # the next ones are heard; its message may contain a visitor's text
                _log.error("%r of %s could not be done: %s", str(wish), subject_id, type(error).__name__)

    def _hear(self) -> list[tuple[str, Wish]]:
        """Take the signals that have come, in order."""
        with reading(self._engine) as session:
            found = [(row.id, row.subject_id, row.wish) for row in session.scalars(self._own)]
        if not found:
            return []
        with writing(self._engine) as session:
            session.execute(delete(Signal).where(Signal.id.in_([number for number, _, _ in found])))
        return [(subject_id, Wish(wish)) for _, subject_id, wish in found if wish in list(Wish)]
