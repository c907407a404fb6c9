"""The store: the services' only way to the database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from sqlalchemy.orm import Session

from gac_app.storage import battle_queries, battles, changes, history, imports, queries, studies
from gac_app.storage.battle_records import JudgedBattle, NewBattle, NewJudgement, StoredBattle, VoteRow
from gac_app.storage.engine import open_engine, probe, reading, scrub, scrub_if_idle, writing
from gac_app.storage.records import (
    AnswerRecord,
    ConversationSummary,
    Gone,
    HistoryFilter,
    NewRun,
    RunStatus,
    StoredRun,
    StoredStudy,
)
from gac_app.storage.schema import upgrade_engine
from gac_app.storage.servers import Heart
from gac_app.storage.tables import utc_now
from gac_app.storage.writer import Writer

T = TypeVar("T")


class Witness(Protocol):
    """Who is told of what was written, in the writing thread: it must not wait for anything."""

    def changed_run(self, run_id: str) -> None:
        """A run has ended, or its vote has come, changed or gone."""

    def changed_battle(self, battle_id: str) -> None:
        """A battle has ended, or was judged."""

    def deleted(self, gone: Gone) -> None: ...


class Store:
    """Runs, answers, traces and votes.

    Writes are queued for one thread and answered with futures: done once committed, StorageError once the database
    has refused for `retry_s`, NotFoundError where the row is missing or another visitor's. Reads happen in the
    calling thread and raise the same errors.

    Args:
        url: any SQLAlchemy URL; the schema is made or upgraded.
        retry_s: how long a write is tried.
        is_owner: whether this process runs models. Then its runs are marked as its own as long as it lives, and runs of
            processes that died are marked as interrupted. False for a command that runs beside a server.

    Attributes:
        witness: who is told of what was written.

    Raises:
        StorageError: newer schema, damaged file, no permission, no server. Nothing is overwritten.
    """

    witness: Witness | None = None

    def __init__(self, url: str, *, retry_s: float = 30.0, is_owner: bool = True) -> None:
        self._engine = open_engine(url, busy_timeout_s=min(5.0, retry_s))
        try:
            upgrade_engine(self._engine, url)
            if is_owner:
                scrub_if_idle(self._engine)
            self._heart = Heart(self._engine) if is_owner else None
            self._server_id = self._heart.server_id if self._heart else None
        except BaseException:
            self._engine.dispose()
            raise
        self._writer = Writer(retry_s)

    @property
    def num_errors(self) -> int:
        """Writes lost since the start."""
        return self._writer.num_errors

    def start_run(self, run: NewRun) -> Future[None]:
        """Write a run as running, at the end of its conversation."""
        return self._write(lambda session: changes.start_run(session, run, self._server_id))

    def save_answer(self, run_id: str, answer: AnswerRecord) -> Future[None]:
        """Write an answer with its steps, in place of an earlier one of the same system."""
        return self._write(lambda session: changes.save_answer(session, run_id, answer))

    def finish_run(self, run_id: str, status: RunStatus) -> Future[None]:
        return self._write(lambda session: changes.finish_run(session, run_id, RunStatus(status)), run=run_id)

    def vote(self, visitor_key: str, run_id: str, outcome: str, implied: Sequence[JudgedBattle] = ()) -> Future[None]:
        """Vote on one's own run; a second vote replaces the first.

        Args:
            implied: battles, with the vote on each, that are written with it or not at all; in the place of what the
                first one implied.
        """

        def vote(session: Session) -> None:
            changes.vote(session, visitor_key, run_id, outcome)
            battles.imply(session, visitor_key, run_id, implied)

        return self._write(vote, run=run_id)

    def undo_vote(self, visitor_key: str, run_id: str) -> Future[None]:
        """Take the vote on one's own run back, if there is one, and what it implied."""

        def undo(session: Session) -> None:
            changes.undo_vote(session, visitor_key, run_id)
            battles.imply(session, visitor_key, run_id, ())

        return self._write(undo, run=run_id)

    def share_run(self, visitor_key: str, run_id: str, is_shared: bool) -> Future[None]:
        """Allow or no longer allow anybody who knows its id to read a run."""
        return self._write(lambda session: changes.share_run(session, visitor_key, run_id, is_shared))

    def name_conversation(self, visitor_key: str, conversation_id: str, name: str) -> Future[None]:
        """Name a conversation; "" removes its name. Done once the old name is gone from the files."""
        return self._delete(lambda session: changes.name_conversation(session, visitor_key, conversation_id, name))

    def star_conversation(self, visitor_key: str, conversation_id: str, is_starred: bool) -> Future[None]:
        return self._write(lambda session: changes.star_conversation(session, visitor_key, conversation_id, is_starred))

    def delete_run(self, visitor_key: str, run_id: str) -> Future[None]:
        """Delete a run with all its text, damaged or not. Done once nothing of it is left in the database's files."""
        return self._delete(lambda session: changes.delete_run(session, visitor_key, run_id))

    def adopt(self, visitor_key: str) -> Future[None]:
        """Give a visitor what was imported of theirs."""
        return self._write(lambda session: changes.adopt(session, visitor_key))

    def delete_visitor(self, visitor_key: str) -> Future[None]:
        """Delete everything of a visitor, as `delete_run` does. A visitor without anything is no error."""
        return self._delete(lambda session: changes.delete_visitor(session, visitor_key))

    def list_conversations(
        self, visitor_key: str, wanted: HistoryFilter, limit: int = 30, offset: int = 0
    ) -> list[ConversationSummary]:
        """A visitor's conversations that hold a wanted run, with those runs, damaged ones included."""
        with reading(self._engine) as session:
            return history.list_conversations(session, visitor_key, wanted, limit, offset)

    def run_ids_of(self, visitor_key: str, conversation_id: str) -> list[str]:
        """Of all runs of a conversation, damaged ones included, newest first; NotFoundError where there is none."""
        with reading(self._engine) as session:
            return queries.run_ids_of(session, visitor_key, conversation_id)

    def conversation_of(self, visitor_key: str, run_id: str) -> str:
        """The id of a run's conversation; the run itself may be damaged."""
        with reading(self._engine) as session:
            return queries.get_owned(session, visitor_key, run_id).conversation_id

    def load_run(self, visitor_key: str, run_id: str) -> StoredRun:
        """A run with its answers and steps; DamagedError where they cannot be read."""
        with reading(self._engine) as session:
            return queries.load_run(session, visitor_key, run_id)

    def load_shared(self, run_id: str) -> StoredRun:
        """A run that its owner shares, for anybody, without the turns before it."""
        with reading(self._engine) as session:
            return queries.load_shared(session, run_id)

    def conversation_runs(self, visitor_key: str, conversation_id: str) -> list[StoredRun]:
        """A conversation's runs in order, without damaged ones."""
        with reading(self._engine) as session:
            return queries.conversation_runs(session, visitor_key, conversation_id)

    def save_study(
        self, visitor_key: str, study_id: str, head: Mapping[str, Any], body: Mapping[str, Any]
    ) -> Future[None]:
        """Write the result of a study; `head` is what a list tells of it. Both JSON-able."""
        return self._write(lambda session: studies.save(session, visitor_key, study_id, head, body))

    def rename_study(self, visitor_key: str, study_id: str, name: str) -> Future[None]:
        return self._write(lambda session: studies.rename(session, visitor_key, study_id, name))

    def delete_study(self, visitor_key: str, study_id: str) -> Future[None]:
        """Delete a result as `delete_run` does a run."""
        return self._delete(lambda session: studies.remove(session, visitor_key, study_id))

    def list_studies(self, visitor_key: str) -> list[StoredStudy]:
        """A visitor's results, newest first, without their bodies."""
        with reading(self._engine) as session:
            return studies.listed(session, visitor_key)

    def all_studies(self) -> list[StoredStudy]:
        """Everybody's results, newest first, without their bodies."""
        with reading(self._engine) as session:
            return studies.everybody_s(session)

    def load_study(self, visitor_key: str, study_id: str) -> StoredStudy:
        """A visitor's result with its body. Raises NotFoundError, DamagedError."""
        with reading(self._engine) as session:
            return studies.load(session, visitor_key, study_id)

    def start_battle(self, new: NewBattle) -> Future[None]:
        """Write a battle that can be judged on this server from now on."""
        return self._write(lambda session: battles.start(session, new, self._server_id))

    def let_battle_go(self, battle_id: str) -> Future[None]:
        """From now on a battle cannot be judged any more."""
        return self._write(lambda session: battles.let_go(session, battle_id))

    def battles_elsewhere(self, voted_within_s: float) -> frozenset[str]:
        """The ids of battles that another server may still let be judged, or their votes be taken back.

        Args:
            voted_within_s: for which a vote may be taken back, and its being so be written.
        """
        since = utc_now() - timedelta(seconds=voted_within_s)
        with reading(self._engine) as session:
            return battle_queries.held_elsewhere(session, self._server_id or "", since)

    def update_battle(self, battle_id: str, status: str, body: Mapping[str, Any]) -> Future[None]:
        """Write a battle's state so far."""
        return self._write(lambda session: battles.update(session, battle_id, status, body), battle=battle_id)

    def add_judged(self, new: NewBattle, vote: NewJudgement) -> Future[bool]:
        """Write a finished battle with its vote. Gives whether it was new."""
        return self._writer.submit(lambda: self._transact(lambda session: battles.add_judged(session, new, vote)))

    def judge_battle(self, visitor_key: str, battle_id: str, new: NewJudgement) -> Future[None]:
        """Append a vote, an undo or a remark to one's own battle. RequestError where it does not fit the last one."""
        return self._write(lambda session: battles.judge(session, visitor_key, battle_id, new), battle=battle_id)

    def delete_battle(self, visitor_key: str, battle_id: str) -> Future[None]:
        """Delete a battle as `delete_run` does a run."""
        return self._delete(lambda session: battles.remove(session, visitor_key, battle_id))

    def load_battle(self, visitor_key: str, battle_id: str) -> StoredBattle:
        """A visitor's battle. Raises NotFoundError, DamagedError."""
        with reading(self._engine) as session:
            return battle_queries.load(session, visitor_key, battle_id)

    def newest_battles(
        self, visitor_key: str, limit: int, without: Collection[str] = ()
    ) -> tuple[list[StoredBattle], int]:
        """A visitor's newest battles but some, the newest first, and how many there are."""
        with reading(self._engine) as session:
            return battle_queries.newest(session, visitor_key, limit, without)

    def votes(self, visitor_key: str = "") -> list[VoteRow]:
        """The standing votes on battles, of one visitor or of everybody, oldest first."""
        with reading(self._engine) as session:
            return battle_queries.votes(session, visitor_key)

    def votes_version(self) -> tuple[Any, ...]:
        """A value that changes with every judgement added or deleted."""
        with reading(self._engine) as session:
            return battle_queries.votes_version(session)

    def export_battles(self, visitor_key: str = "") -> Iterator[StoredBattle]:
        """All battles of one visitor or of everybody, oldest first."""
        return battle_queries.export(self._engine, visitor_key)

    def battle(self, battle_id: str) -> StoredBattle | None:
        """Whosever it is, as exports tell it; None where there is none. Raises DamagedError."""
        with reading(self._engine) as session:
            return battle_queries.of_id(session, battle_id)

    def battles_of_run(self, run_id: str) -> list[StoredBattle]:
        """What the vote on a run has implied, as exports tell it. Raises DamagedError."""
        with reading(self._engine) as session:
            return battle_queries.of_run(session, run_id)

    def import_battle(self, battle: StoredBattle) -> Future[bool]:
        """Add a battle of another database with its judgements. Gives whether anything was new."""
        return self._writer.submit(lambda: self._transact(lambda session: battles.import_battle(session, battle)))

    def import_run(self, line: Mapping[str, Any]) -> Future[bool]:
        """Add a run of another database, as `export` writes it. Gives whether it was new. RequestError where it is no
        run.
        """
        return self._writer.submit(lambda: self._transact(lambda session: imports.import_run(session, line)))

    def export(self) -> Iterator[dict[str, Any]]:
        """All runs of all visitors, oldest first, one JSON-able object each; a visitor is a random word."""
        return queries.export(self._engine)

    def agreed_runs(self) -> Iterator[dict[str, Any]]:
        """The runs that have ended and whose visitors agree that they are handed on, oldest first: of what `export`
        tells, the id, the end and the time of the vote.
        """
        return queries.agreed_runs(self._engine)

    def exported_run(self, run_id: str) -> dict[str, Any] | None:
        """One run as `export` tells it; None where there is none."""
        with reading(self._engine) as session:
            return queries.export_run(session, run_id)

    def check(self) -> None:
        """Check that the database can be written; StorageError where it cannot."""
        probe(self._engine)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until every write so far is settled; False where that takes longer."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_s`, fail the rest, and release the database."""
        if self._heart:
            self._heart.stop()
            self._write(self._heart.leave)
        self._writer.close(timeout_s)
        self._engine.dispose()

    def _write(self, work: Callable[[Session], None], *, run: str = "", battle: str = "") -> Future[None]:
        """`run`, `battle`: ids of what the witness is told of."""

        def tell() -> None:
            if self.witness and run:
                self.witness.changed_run(run)
            if self.witness and battle:
                self.witness.changed_battle(battle)

        return self._writer.submit(lambda: self._transact(work), tell)

    def _delete(self, work: Callable[[Session], Gone | None]) -> Future[None]:
        gone: list[Gone | None] = []

        def tell() -> None:
            if self.witness and gone[-1]:
                self.witness.deleted(gone[-1])

        return self._writer.submit(lambda: gone.append(self._transact(work)), tell, lambda: scrub(self._engine))

    def _transact(self, work: Callable[[Session], T]) -> T:
        with writing(self._engine) as session:
            return work(session)
