"""`BattleStore`: battles and their judgements in the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from gac_app.storage.battles import changes as battle_changes
from gac_app.storage.battles import queries as battle_queries
from gac_app.storage.battles import standing_votes
from gac_app.storage.battles.records import NewBattle, NewJudgement, StoredBattle
from gac_app.storage.battles.tables import ArenaControls
from gac_app.storage.database.database import Database, reads, writes
from gac_app.storage.database.tables import utc_now


class BattleStore:
    """The battles of a database; see `Database` for what the futures raise.

    Methods without a body do what the function says that they are made of, in a session of their own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.reading, self.write = database.reading, database.write

    load = reads(battle_queries.load)
    find = reads(battle_queries.of_id)
    of_run = reads(battle_queries.of_run)
    newest = reads(battle_queries.newest)
    agreed = reads(battle_queries.agreed)
    num_started = reads(battle_queries.num_started)
    cast = reads(battle_queries.cast)
    verdicts = reads(battle_queries.verdicts)
    votes = reads(standing_votes.votes)
    votes_version = reads(standing_votes.version)
    news = reads(standing_votes.news)
    vote_numbers = reads(standing_votes.numbers_of)
    add_judged = writes(battle_changes.add_judged)
    let_go = writes(battle_changes.let_go)

    def start(self, new: NewBattle) -> Future[None]:
        """Write a battle, which can be judged on this server."""
        return self.write(lambda session: battle_changes.start(session, new, self._database.server_id))

    def held_elsewhere(self, voted_within_s: float) -> frozenset[str]:
        """The ids of battles on another server that can still be judged, or whose vote can be taken back.

        Args:
            voted_within_s: the time for taking a vote back and storing that.
        """
        since = utc_now() - timedelta(seconds=voted_within_s)
        with self.reading() as session:
            return battle_queries.held_elsewhere(session, self._database.server_id or "", since)

    def update(self, battle_id: str, status: str, body: Mapping[str, Any]) -> Future[None]:
        """Write a battle's state so far."""
        return self.write(lambda session: battle_changes.update(session, battle_id, status, body), battles=(battle_id,))

    def judge(self, visitor_key: str, battle_id: str, new: NewJudgement) -> Future[None]:
        """Append a vote, an undo or a remark to the visitor's battle. RequestError if it does not follow the last
        row.
        """
        return self.write(
            lambda session: battle_changes.judge(session, visitor_key, battle_id, new), battles=(battle_id,)
        )

    def give_verdict(self, battle_ids: Sequence[str], verdict: str) -> Future[None]:
        """Append the operator's verdict to battles."""
        return self.write(lambda session: battle_changes.give_verdict(session, battle_ids, verdict), battles=battle_ids)

    def controls(self) -> bytes:
        """What the operator has set, as JSON."""
        with self.reading() as session:
            row = session.get(ArenaControls, 1)
            return row.body if row else b"{}"

    def set_controls(self, body: bytes) -> Future[None]:
        """Replace what the operator has set."""

        def replace(session: Session) -> None:
            session.merge(ArenaControls(id=1, body=body))

        return self.write(replace)

    def delete(self, visitor_key: str, battle_id: str) -> Future[None]:
        """Delete a battle as `delete_run` does a run."""
        return self._database.delete(lambda session: battle_changes.remove(session, visitor_key, battle_id))

    def export(self, visitor_key: str = "") -> Iterator[StoredBattle]:
        """All battles of one visitor or of everybody, oldest first."""
        return battle_queries.export(self._database.engine, visitor_key)
