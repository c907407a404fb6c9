"""`BattleStore`: battles and their judgements in the database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from gac_app.storage.battles import changes as battle_changes
from gac_app.storage.battles import queries as battle_queries
from gac_app.storage.battles import standing_votes
from gac_app.storage.battles.records import CastVote, NewBattle, NewJudgement, StoredBattle, VoteNews, VoteRow
from gac_app.storage.battles.tables import ArenaControls
from gac_app.storage.database.database import Database
from gac_app.storage.database.tables import utc_now


class BattleStore:
    """The battles of a database; see `Database` for what the futures raise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, new: NewBattle) -> Future[None]:
        """Write a battle, which can be judged on this server."""
        return self._database.write(lambda session: battle_changes.start(session, new, self._database.server_id))

    def let_go(self, battle_id: str) -> Future[None]:
        """Write that a battle can no longer be judged."""
        return self._database.write(lambda session: battle_changes.let_go(session, battle_id))

    def held_elsewhere(self, voted_within_s: float) -> frozenset[str]:
        """The ids of battles on another server that can still be judged, or whose vote can be taken back.

        Args:
            voted_within_s: the time for taking a vote back and storing that.
        """
        since = utc_now() - timedelta(seconds=voted_within_s)
        with self._database.reading() as session:
            return battle_queries.held_elsewhere(session, self._database.server_id or "", since)

    def update(self, battle_id: str, status: str, body: Mapping[str, Any]) -> Future[None]:
        """Write a battle's state so far."""
        return self._database.write(
            lambda session: battle_changes.update(session, battle_id, status, body), battles=(battle_id,)
        )

    def add_judged(self, new: NewBattle, vote: NewJudgement) -> Future[bool]:
        """Write a finished battle with its vote. Gives whether it was new."""
        return self._database.write(lambda session: battle_changes.add_judged(session, new, vote))

    def judge(self, visitor_key: str, battle_id: str, new: NewJudgement) -> Future[None]:
        """Append a vote, an undo or a remark to the visitor's battle. RequestError if it does not follow the last
        row.
        """
        return self._database.write(
            lambda session: battle_changes.judge(session, visitor_key, battle_id, new), battles=(battle_id,)
        )

    def give_verdict(self, battle_ids: Sequence[str], verdict: str) -> Future[None]:
        """Append the operator's verdict to battles."""
        return self._database.write(
            lambda session: battle_changes.give_verdict(session, battle_ids, verdict), battles=battle_ids
        )

    def verdicts(self) -> dict[str, str]:
        """The operator's last verdict by battle."""
        with self._database.reading() as session:
            return battle_queries.verdicts(session)

    def cast(self) -> list[CastVote]:
        """All blind votes of people that were not taken back, newest first, for the operator."""
        with self._database.reading() as session:
            return battle_queries.cast(session)

    def controls(self) -> bytes:
        """What the operator has set, as JSON."""
        with self._database.reading() as session:
            row = session.get(ArenaControls, 1)
            return row.body if row else b"{}"

    def set_controls(self, body: bytes) -> Future[None]:
        """Replace what the operator has set."""

        def replace(session: Session) -> None:
            session.merge(ArenaControls(id=1, body=body))

        return self._database.write(replace)

    def num_started(self, since: datetime) -> int:
        """The number of blind battles that were started since then."""
        with self._database.reading() as session:
            return battle_queries.num_started(session, since)

    def delete(self, visitor_key: str, battle_id: str) -> Future[None]:
        """Delete a battle as `delete_run` does a run."""
        return self._database.delete(lambda session: battle_changes.remove(session, visitor_key, battle_id))

    def load(self, visitor_key: str, battle_id: str) -> StoredBattle:
        """A visitor's battle. Raises NotFoundError, DamagedError."""
        with self._database.reading() as session:
            return battle_queries.load(session, visitor_key, battle_id)

    def newest(self, visitor_key: str, limit: int, without: Collection[str] = ()) -> tuple[list[StoredBattle], int]:
        """A visitor's newest battles except `without`, newest first, and their number."""
        with self._database.reading() as session:
            return battle_queries.newest(session, visitor_key, limit, without)

    def votes(self, visitor_key: str = "") -> list[VoteRow]:
        """The votes that were not taken back, of one visitor or of everybody, oldest first."""
        with self._database.reading() as session:
            return standing_votes.votes(session, visitor_key)

    def votes_version(self) -> tuple[int, int]:
        """A value that changes with every vote added, changed or removed: their number, and the newest one's."""
        with self._database.reading() as session:
            return standing_votes.version(session)

    def news(self, newest: int, num_known: int) -> VoteNews:
        """What a reader lacks who knows `num_known` votes, the last one with the number `newest`."""
        with self._database.reading() as session:
            return standing_votes.news(session, newest, num_known)

    def vote_numbers(self, battle_ids: Collection[str]) -> frozenset[int]:
        """The numbers of the votes on these battles."""
        with self._database.reading() as session:
            return standing_votes.numbers_of(session, battle_ids)

    def export(self, visitor_key: str = "") -> Iterator[StoredBattle]:
        """All battles of one visitor or of everybody, oldest first."""
        return battle_queries.export(self._database.engine, visitor_key)

    def find(self, battle_id: str) -> StoredBattle | None:
        """A battle of any visitor, as exported; None if there is none. Raises DamagedError."""
        with self._database.reading() as session:
            return battle_queries.of_id(session, battle_id)

    def of_run(self, run_id: str) -> list[StoredBattle]:
        """The battles implied by the vote on a run, as exported. Raises DamagedError."""
        with self._database.reading() as session:
            return battle_queries.of_run(session, run_id)
