"""`BattleStore`: battles and their judgements in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from gac_app.storage.battles import changes, queries, standing_votes
from gac_app.storage.battles.records import NewBattle, NewJudgement, StoredBattle
from gac_app.storage.battles.tables import ArenaControls
from gac_app.storage.database.database import Database, deletes, reads, writes
from gac_app.storage.database.tables import utc_now


def _controls(session: Session) -> bytes:
    """What the operator has set, as JSON."""
    row = session.get(ArenaControls, 1)
    return row.body if row else b"{}"


def _set_controls(session: Session, body: bytes) -> None:
    """Replace what the operator has set."""
    session.merge(ArenaControls(id=1, body=body))


class BattleStore:
    """The battles of a database. Methods are like those of `Store`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def start(self, new: NewBattle) -> Future[None]:
        """Write a battle, which can be judged on this server."""
        return self.database.write(lambda session: changes.start(session, new, self.database.server_id))

    let_go = writes(changes.let_go)

    def held_elsewhere(self, voted_within_s: float) -> frozenset[str]:
        """The ids of battles on another server that can still be judged, or whose vote can be taken back.

        Args:
            voted_within_s: the time for taking a vote back and storing that.
        """
        since = utc_now() - timedelta(seconds=voted_within_s)
        with self.database.reading() as session:
            return queries.held_elsewhere(session, self.database.server_id or "", since)

    def update(self, battle_id: str, status: str, body: Mapping[str, Any]) -> Future[None]:
        """Write a battle's state so far."""
        return self.database.write(
            lambda session: changes.update(session, battle_id, status, body), battles=(battle_id,)
        )

    def judge(self, visitor_key: str, battle_id: str, new: NewJudgement) -> Future[None]:
        """Append a vote, an undo or a remark to the visitor's battle. RequestError if it does not follow the last
        row.
        """
        return self.database.write(
            lambda session: changes.judge(session, visitor_key, battle_id, new), battles=(battle_id,)
        )

    def give_verdict(self, battle_ids: Sequence[str], verdict: str) -> Future[None]:
        """Append the operator's verdict to battles."""
        return self.database.write(
            lambda session: changes.give_verdict(session, battle_ids, verdict), battles=battle_ids
        )

    add_judged = writes(changes.add_judged)
    delete = deletes(changes.remove)
    controls = reads(_controls)
    set_controls = writes(_set_controls)

    load = reads(queries.load)
    newest = reads(queries.newest)
    find = reads(queries.of_id)
    of_run = reads(queries.of_run)
    agreed = reads(queries.agreed)
    num_started = reads(queries.num_started)
    cast = reads(queries.cast)
    verdicts = reads(queries.verdicts)

    def export(self, visitor_key: str = "") -> Iterator[StoredBattle]:
        """All battles of one visitor or of everybody, oldest first."""
        return queries.export(self.database.engine, visitor_key)

    votes = reads(standing_votes.votes)
    votes_version = reads(standing_votes.version)
    news = reads(standing_votes.news)
    vote_numbers = reads(standing_votes.numbers_of)
