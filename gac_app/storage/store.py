"""The store: the services' only way to the database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy.orm import Session

from gac_app.storage import studies
from gac_app.storage.battles import changes as battle_changes
from gac_app.storage.battles.records import JudgedBattle, StoredBattle
from gac_app.storage.battles.store import BattleStore
from gac_app.storage.database.database import Database
from gac_app.storage.runs import changes, history, imports, queries
from gac_app.storage.runs.history_records import ConversationSummary, HistoryFilter
from gac_app.storage.runs.records import AnswerRecord, Imported, NewRun, RunStatus, StoredRun, StoredStudy
from gac_app.storage.runs.step_reader import StepReader
from gac_app.storage.runs.traces import packed


class Store(Database):
    """Runs, answers, traces, votes and studies of visitors.

    Futures raise NotFoundError if the row is missing or another visitor's; see `Database` for the rest.

    Attributes:
        battles: the Arena's battles.
    """

    def __init__(self, url: str, *, retry_s: float = 30.0, is_owner: bool = True) -> None:
        super().__init__(url, retry_s=retry_s, is_owner=is_owner)
        self.battles = BattleStore(self)
        self._steps = StepReader(self.engine)

    def start_run(self, run: NewRun) -> Future[None]:
        """Write a run as running, at the end of its conversation."""
        return self.write(lambda session: changes.start_run(session, run, self.server_id))

    def save_answer(self, run_id: str, answer: AnswerRecord) -> Future[None]:
        """Write an answer with its steps, replacing an earlier one of the same system."""
        steps = packed(answer.events)  # here, since it takes seconds for a long answer
        return self.write(lambda session: changes.save_answer(session, run_id, answer, steps))

    def finish_run(self, run_id: str, status: RunStatus) -> Future[None]:
        return self.write(lambda session: changes.finish_run(session, run_id, RunStatus(status)), run=run_id)

    def vote(self, visitor_key: str, run_id: str, outcome: str, implied: Sequence[JudgedBattle] = ()) -> Future[None]:
        """Vote on the visitor's run. A second vote replaces the first.

        Args:
            implied: battles, with their votes, that are written in the same transaction; they replace those of an
                earlier vote.
        """

        def vote(session: Session) -> None:
            changes.vote(session, visitor_key, run_id, outcome)
            battle_changes.imply(session, visitor_key, run_id, implied)

        return self.write(vote, run=run_id)

    def undo_vote(self, visitor_key: str, run_id: str) -> Future[None]:
        """Take back the vote on the visitor's run, if there is one, with the battles that it implied."""

        def undo(session: Session) -> None:
            changes.undo_vote(session, visitor_key, run_id)
            battle_changes.imply(session, visitor_key, run_id, ())

        return self.write(undo, run=run_id)

    def share_run(self, visitor_key: str, run_id: str, is_shared: bool) -> Future[None]:
        """Set whether anybody who knows its id may read a run."""
        return self.write(lambda session: changes.share_run(session, visitor_key, run_id, is_shared))

    def name_conversation(self, visitor_key: str, conversation_id: str, name: str) -> Future[None]:
        """Name a conversation; "" removes its name. Done once the files have no trace of the old name."""
        return self.delete(lambda session: changes.name_conversation(session, visitor_key, conversation_id, name))

    def star_conversation(self, visitor_key: str, conversation_id: str, is_starred: bool) -> Future[None]:
        return self.write(lambda session: changes.star_conversation(session, visitor_key, conversation_id, is_starred))

    def delete_run(self, visitor_key: str, run_id: str) -> Future[None]:
        """Delete a run with all its text, even if it is damaged. Done once the database's files have no trace of it."""
        return self.delete(lambda session: changes.delete_run(session, visitor_key, run_id))

    def adopt(self, visitor_key: str) -> Future[None]:
        """Give a visitor their imported runs and battles."""
        return self.write(lambda session: changes.adopt(session, visitor_key))

    def delete_visitor(self, visitor_key: str) -> Future[None]:
        """Delete everything of a visitor, as `delete_run`. It is no error if there is nothing."""
        return self.delete(lambda session: changes.delete_visitor(session, visitor_key))

    def list_conversations(
        self, visitor_key: str, wanted: HistoryFilter, limit: int = 30, offset: int = 0
    ) -> list[ConversationSummary]:
        """A visitor's conversations with matching runs, and these runs, including damaged ones."""
        with self.reading() as session:
            return history.list_conversations(session, visitor_key, wanted, limit, offset)

    def run_ids_of(self, visitor_key: str, conversation_id: str) -> list[str]:
        """The ids of a conversation's runs, newest first, including damaged ones. NotFoundError if there are none."""
        with self.reading() as session:
            return queries.run_ids_of(session, visitor_key, conversation_id)

    def conversation_of(self, visitor_key: str, run_id: str) -> str:
        """The id of a run's conversation; the run itself may be damaged."""
        with self.reading() as session:
            return queries.get_owned(session, visitor_key, run_id).conversation_id

    def load_run(self, visitor_key: str, run_id: str) -> StoredRun:
        """A run with its answers; their steps are read when they are looked at. DamagedError if it cannot be read."""
        with self.reading() as session:
            return queries.load_run(session, self._steps, visitor_key, run_id)

    def load_shared(self, run_id: str) -> StoredRun:
        """A shared run, for anybody, without earlier turns."""
        with self.reading() as session:
            return queries.load_shared(session, self._steps, run_id)

    def conversation_runs(self, visitor_key: str, conversation_id: str) -> list[StoredRun]:
        """A conversation's runs in order, without damaged ones."""
        with self.reading() as session:
            return queries.conversation_runs(session, self._steps, visitor_key, conversation_id)

    def save_study(
        self, visitor_key: str, study_id: str, head: Mapping[str, Any], body: Mapping[str, Any]
    ) -> Future[None]:
        """Write the result of a study. `head` is for lists. Both are JSON-able."""
        packed_body = studies.packed(body)
        return self.write(lambda session: studies.save(session, visitor_key, study_id, head, packed_body))

    def rename_study(self, visitor_key: str, study_id: str, name: str) -> Future[None]:
        return self.write(lambda session: studies.rename(session, visitor_key, study_id, name))

    def delete_study(self, visitor_key: str, study_id: str) -> Future[None]:
        """Delete a result, as `delete_run`."""
        return self.delete(lambda session: studies.remove(session, visitor_key, study_id))

    def list_studies(self, visitor_key: str) -> list[StoredStudy]:
        """A visitor's results, newest first, without their bodies."""
        with self.reading() as session:
            return studies.listed(session, visitor_key)

    def all_studies(self) -> list[StoredStudy]:
        """Everybody's results, newest first, without their bodies."""
        with self.reading() as session:
            return studies.everybody_s(session)

    def load_study(self, visitor_key: str, study_id: str) -> StoredStudy:
        """A visitor's result with its body. Raises NotFoundError, DamagedError."""
        with self.reading() as session:
            return studies.load(session, visitor_key, study_id)

    def bring(
        self, runs: Sequence[Mapping[str, Any]], battles: Sequence[StoredBattle], withheld: Collection[str] = ()
    ) -> Future[Imported]:
        """Import runs and battles in the format of exports, which must have been checked, in one transaction.

        Args:
            withheld: ids that are left out. Deletions until then may add to it.
        """
        return self.write(lambda session: imports.bring(session, runs, battles, withheld))

    def export(self) -> Iterator[dict[str, Any]]:
        """All runs of all visitors, oldest first, one JSON-able object each. Visitors have pseudonyms."""
        return queries.export(self.engine)

    def agreed_runs(self) -> Iterator[dict[str, Any]]:
        """The runs that have ended and whose visitors agree that they are handed on, oldest first: of what `export`
        tells, the id, the end and the time of the vote.
        """
        return queries.agreed_runs(self.engine)

    def exported_run(self, run_id: str) -> dict[str, Any] | None:
        """One run in the format of `export`; None if there is none."""
        with self.reading() as session:
            return queries.export_run(session, run_id)
