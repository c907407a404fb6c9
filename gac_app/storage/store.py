"""The store: the services' only way to the database."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from sqlalchemy.orm import Session

from gac_app.recent import Recent
from gac_app.storage import servers, studies
from gac_app.storage.battles import changes as battle_changes
from gac_app.storage.battles import queries as battle_queries
from gac_app.storage.battles.records import StoredBattle
from gac_app.storage.battles.store import BattleStore
from gac_app.storage.database import visitors
from gac_app.storage.database.database import Database, deletes, reads, when_written, writes
from gac_app.storage.database.engine import scrub_if_idle, storage_errors
from gac_app.storage.runs import changes, history, queries
from gac_app.storage.runs.imports import import_run
from gac_app.storage.runs.records import AnswerRecord
from gac_app.storage.runs.traces import packed
from gac_app.storage.tombstones import buried, bury

_MAX_LOOKED = 50_000  # visitors


def _delete_battle(session: Session, visitor_key: str, battle_id: str) -> None:
    """As `delete_run`."""
    battle_changes.remove(session, visitor_key, battle_id)
    _tell_deleted(session, [battle_id])


def _delete_run(session: Session, visitor_key: str, run_id: str) -> None:
    """Delete a run with all its text, even if it is damaged. Done once the database's files have no trace of it."""
    changes.delete_run(session, visitor_key, run_id)
    _tell_deleted(session, [run_id])


def _delete_visitor(session: Session, visitor_key: str) -> None:
    """Delete everything of a visitor, as `delete_run`. It is no error if there is nothing."""
    visitors.adopt(session, visitor_key)
    run_ids = changes.destroy_runs(session, visitor_key)
    battle_ids = battle_queries.ids_of_visitor(session, visitor_key)
    visitors.delete_visitor(session, visitor_key)
    _tell_deleted(session, [*run_ids, *battle_ids])


def _tell_deleted(session: Session, ids: Sequence[str]) -> None:
    bury(session, ids)
    when_written(session, lambda observer: observer.deleted(ids))


def _import_records(
    session: Session, runs: Sequence[Mapping[str, Any]], battles: Sequence[StoredBattle]
) -> tuple[int, int]:
    """Import runs and battles in the format of exports, which must have been checked, in one transaction. Returns how
    many were new, and how many were deleted here and so are withheld.
    """
    deleted = buried(session, [*(run["run_id"] for run in runs), *(battle.battle_id for battle in battles)])
    wanted_runs = [run for run in runs if run["run_id"] not in deleted]
    wanted = [battle for battle in battles if battle.battle_id not in deleted]
    num_new = sum(import_run(session, run) for run in wanted_runs) + battle_changes.import_battles(session, wanted)
    return num_new, len(runs) + len(battles) - len(wanted_runs) - len(wanted)


class Store(Database):
    """Runs, answers, traces, votes and studies of visitors.

    Every method does what the function of that name says, in a session of its own. Futures raise NotFoundError if the
    row is missing or another visitor's; see `Database` for the rest.

    Args:
        server: the name of the server that this process is, the same at each start, and another one for each server on
            this database. What it was answering when it ended is marked as interrupted. "" for a command.

    Attributes:
        battles: the Arena's battles.
    """

    def __init__(self, url: str, *, retry_s: float = 30.0, server: str = platform.node()) -> None:
        super().__init__(url, retry_s=retry_s)
        # hash of a key -> the last visitor when `has_imported` looked
        self._looked: Recent[str, int] = Recent(_MAX_LOOKED)
        if server:
            try:
                scrub_if_idle(self.engine)
                with storage_errors(self.engine):
                    self.server_id = self.transact(lambda session: servers.started(session, server))
            except BaseException:
                self.close()
                raise
        self.battles = BattleStore(self)

    def close(self, timeout_s: float = 5.0) -> None:
        if server_id := self.server_id:
            self.write(lambda session: servers.interrupt(session, server_id))
        super().close(timeout_s)

    # --- runs

    start_run = writes(changes.start_run)
    finish_run = writes(changes.finish_run)
    vote = writes(changes.vote)
    undo_vote = writes(changes.undo_vote)

    def save_answer(self, run_id: str, answer: AnswerRecord) -> Future[None]:
        """Write an answer with its steps, replacing an earlier one of the same system."""
        steps = packed(answer.events)  # here, since it takes seconds for a long answer
        return self.write(lambda session: changes.save_answer(session, run_id, answer, steps))

    delete_battle = deletes(_delete_battle)

    share_run = writes(changes.share_run)
    load_run = reads(queries.load_run)
    load_shared = reads(queries.load_shared)
    delete_run = deletes(_delete_run)

    def export(self) -> Iterator[dict[str, Any]]:
        """All runs of all visitors, oldest first, one JSON-able object each. Visitors have pseudonyms."""
        return queries.export(self.engine)

    # --- conversations

    list_conversations = reads(history.list_conversations)
    conversation_runs = reads(queries.conversation_runs)
    run_ids_of = reads(queries.run_ids_of)
    conversations_of = reads(queries.conversations_of)
    name_conversation = deletes(changes.name_conversation)
    star_conversation = writes(changes.star_conversation)

    # --- studies

    def save_study(
        self, visitor_key: str, study_id: str, head: Mapping[str, Any], body: Mapping[str, Any]
    ) -> Future[None]:
        """Write the result of a study. `head` is for lists. Both are JSON-able."""
        packed_body = studies.packed(body)
        return self.write(lambda session: studies.save(session, visitor_key, study_id, head, packed_body))

    rename_study = writes(studies.rename)
    delete_study = deletes(studies.remove)
    list_studies = reads(studies.of_visitor)
    all_studies = reads(studies.of_everybody)
    load_study = reads(studies.load)

    # --- visitors

    def has_imported(self, visitor_key: str) -> bool:
        """Whether `adopt` would find something: looks only at what was imported since it looked last."""
        name = visitors.hash_key(visitor_key)
        with self.reading() as session:
            newest = visitors.newest_id(session)
            if visitors.imported_of(session, visitor_key, self._looked.get(name, 0)):
                return True
        self._looked[name] = newest
        return False

    adopt = writes(visitors.adopt)
    delete_visitor = deletes(_delete_visitor)
    import_records = writes(_import_records)
    deleted_ids = reads(buried)
    bury = writes(bury)
