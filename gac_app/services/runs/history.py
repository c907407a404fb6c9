"""The runs of a visitor, live and stored: shown, named, shared, judged and deleted.

Every method checks the owner: the page is not trusted. `runs` starts and streams runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from gac_app.config import Config
from gac_app.decoding.trace import StepTrace
from gac_app.errors import NotFoundError, Phrase, RequestError, StorageError, too_long
from gac_app.services.members import Members
from gac_app.services.mirror.mirror import Mirror
from gac_app.services.runs.live_run import LiveRun
from gac_app.services.runs.live_runs import LiveRuns
from gac_app.services.runs.revisions import have_other_answers
from gac_app.services.runs.runner import Runner
from gac_app.services.runs.views import BESIDE, ENSEMBLE, RunView, step_at, stored_view
from gac_app.services.visitors import owner_of
from gac_app.services.writes import wait_for
from gac_app.settings import Settings
from gac_app.storage import ConversationSummary, HistoryFilter, Store, StoredRun, clean_text

MAX_NAME_CHARS = 120  # of a conversation
END_TIMEOUT_S = 10.0  # for a stopped run to end
MOST_CONTINUED = 32  # runs that are looked through for other settings: each is a read of the database


class DependentService(Protocol):
    """A service that uses a `RunService`, and must forget and stop with it."""

    def forget(self, visitor_key: str) -> None: ...

    def close(self) -> None: ...


class History:
    """Finds, lists, judges and deletes a visitor's runs.

    Args:
        config: its settings replace stored ones that cannot be read.
        runs: the runs in memory.
        runner: stops runs.
        members: their prefix caches are cleared.
        mirror: deletions are marked in it.
        companions: called when a visitor deletes everything.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        runs: LiveRuns,
        runner: Runner,
        members: Members,
        mirror: Mirror | None,
        companions: Sequence[DependentService],
    ) -> None:
        self._config, self._store, self._runs, self._runner = config, store, runs, runner
        self._members, self._mirror, self._companions = members, mirror, companions

    def find(self, visitor_key: str, run_id: str) -> RunView:
        """A visitor's run, live or stored. Raises NotFoundError, also for another visitor's."""
        try:
            return self._runs.find(owner_of(visitor_key), run_id)
        except NotFoundError:
            return self._view(self._store.load_run(visitor_key, run_id))

    def look(self, visitor_key: str, run_id: str) -> RunView:
        """A visitor's own run, or a shared one without its conversation, its owner's vote and, unless the owner shares
        them too, its turns.
        """
        try:
            return self.find(visitor_key, run_id)
        except NotFoundError:
            if not self._config.is_sharing:
                raise
        run = self._view(self._store.load_shared(run_id))
        run.is_own, run.conversation_id, run.outcome = False, "", None
        run.turn_ids = tuple(turn.run_id for turn in run.turns)
        run.parent_run_id = run.repeats_run_id = None
        return run

    def share(self, visitor_key: str, run_id: str, is_shared: bool, *, with_turns: bool = False) -> None:
        """Set whether anybody with its link may read a run, and with it the turns before it."""
        if is_shared and not self._config.is_sharing:
            raise RequestError(
                "share", Phrase("Sharing is off on this server. Its operator can turn it on (server.sharing).")
            )
        run = self.find(visitor_key, run_id)
        if run.is_saved is not True:
            raise RequestError("share", Phrase("A run can be shared once it is over and saved."))
        wait_for(self._store.share_run(visitor_key, run_id, is_shared, with_turns))
        run.is_shared, run.shares_turns = is_shared, is_shared and with_turns

    def run_before(self, visitor_key: str, run: RunView) -> RunView | None:
        """The run that `run` repeats; None if that was deleted, is a branch, has other members, or has lost a turn."""
        before = self._still_there(visitor_key, run.repeats_run_id)
        if before is None or before.branch_position is not None or before.num_deleted_turns:
            return None
        return before if before.member_names == run.member_names else None

    def run_beside(self, visitor_key: str, run: RunView) -> RunView | None:
        """The run with other settings that `run`, or one it continues, replaced: no branch, same prompt and members."""
        parent = None if run.branch_position is not None else self._still_there(visitor_key, run.parent_run_id)
        for _ in range(MOST_CONTINUED):
            if parent is None or have_other_answers(parent.settings, run.settings):
                break
            parent = self._still_there(visitor_key, parent.parent_run_id)
        else:
            return None
        if parent is None or parent.branch_position is not None or ENSEMBLE not in parent.streams:
            return None
        return parent if (parent.prompt, parent.member_names) == (run.prompt, run.member_names) else None

    def _still_there(self, visitor_key: str, run_id: str | None) -> RunView | None:
        """A run by its id; None if there is no id, or if the run was deleted or cannot be read."""
        try:
            return self.find(visitor_key, run_id) if run_id is not None else None
        except (NotFoundError, StorageError):
            return None

    def steps(self, visitor_key: str, run_id: str, stream: str, position: int) -> tuple[Sequence[StepTrace], Settings]:
        """The steps of a stream, one of them at `position`, and the settings they were made with."""
        run = self.look(visitor_key, run_id)
        if stream not in run.streams:
            raise RequestError("stream", f"expected one of {', '.join(run.streams)}")
        steps = run.steps_of(stream)
        step_at(steps, position)
        return steps, run.settings

    def conversations(
        self, visitor_key: str, wanted: HistoryFilter, limit: int = 30, offset: int = 0
    ) -> list[ConversationSummary]:
        """A visitor's stored conversations with a run that matches."""
        owner_of(visitor_key)
        self.adopt(visitor_key)
        return self._store.list_conversations(visitor_key, wanted, limit, offset)

    def adopt(self, visitor_key: str) -> None:
        """Give a visitor what the mirror has brought back of theirs."""
        if self._mirror and self._store.has_imported(visitor_key):
            wait_for(self._store.adopt(visitor_key))

    def name_conversation(self, visitor_key: str, conversation_id: str, name: str) -> None:
        """Name a conversation; a blank name removes its name."""
        if len(name) > MAX_NAME_CHARS:
            raise RequestError("name", too_long(len(name), MAX_NAME_CHARS))
        wait_for(self._store.name_conversation(visitor_key, conversation_id, clean_text(name).strip()))

    def star_conversation(self, visitor_key: str, conversation_id: str, is_starred: bool) -> None:
        wait_for(self._store.star_conversation(visitor_key, conversation_id, is_starred))

    def conversation(self, visitor_key: str, conversation_id: str) -> list[RunView]:
        """A conversation's runs in order, including unstored ones. Raises NotFoundError if it has none."""
        live = {r.id: r for r in self._runs.of(owner_of(visitor_key)) if r.conversation_id == conversation_id}
        stored, gone = list[RunView](), set[str]()
        try:
            gone = self._store.deleted_ids([*live]) if live else gone  # by another server
            stored = [self._view(run) for run in self._store.conversation_runs(visitor_key, conversation_id)]
        except (NotFoundError, StorageError):
            if live.keys() <= gone:
                raise
        finally:
            for run_id in gone:
                self._drop([*live.values()], run_id)
        known = gone.union(run.id for run in stored)
        return [live.get(run.id, run) for run in stored] + [run for run in live.values() if run.id not in known]

    def _view(self, run: StoredRun) -> RunView:
        try:
            settings = Settings.model_validate(run.settings)
        except ValueError:  # an import may have any
            settings = self._config.settings
        return stored_view(run, settings)

    # --- judging and deleting

    def vote(self, visitor_key: str, run_id: str, outcome: str) -> None:
        """Vote for an answer. A run that is still decoding continues.

        Args:
            outcome: a stream's key ("ensemble", "member:NAME"), "tie" or "all-bad"; "beside", if the run beside it has
                the better ensemble's answer.

        Raises:
            RequestError, NotFoundError, StorageError.
        """
        run = self.find(visitor_key, run_id)
        with self._runs.changing(owner_of(visitor_key)):  # so that the run beside it is not deleted meanwhile
            beside = self.run_beside(visitor_key, run)
            known = (*run.outcomes, *([BESIDE] if beside else []))
            if outcome not in known:
                raise RequestError("outcome", f"expected one of {', '.join(known)}")
            write = self._store.vote(visitor_key, run_id, outcome)
        write.add_done_callback(self._count_vote)
        _judge(run, outcome, write)

    def _count_vote(self, write: Future[None]) -> None:
        if write.exception() is None:
            self._runner.metrics.voted("compare")

    def undo_vote(self, visitor_key: str, run_id: str) -> None:
        """Take back the vote on a run."""
        _judge(self.find(visitor_key, run_id), None, self._store.undo_vote(visitor_key, run_id))

    def delete_runs(self, visitor_key: str, run_ids: Sequence[str]) -> None:
        """Delete runs with all their text: in memory, in the database's files, and in the context of later turns.
        Missing ones are ignored.

        Later turns that are still decoding have read the text, so they are stopped. The conversation continues without
        it.
        """
        owner = owner_of(visitor_key)
        writes = list[Future[None]]()  # all begun before one is waited for: a backup may hold up each
        with self._runs.changing(owner):
            known = {run.id: run.conversation_id for run in self._runs.of(owner)}
            if others := [run_id for run_id in run_ids if run_id not in known]:
                known |= self._store.conversations_of(visitor_key, others)
            for run_id in filter(known.__contains__, run_ids):
                self._drop(self._runs.of(owner), run_id)
                self._members.forget(owner, known[run_id])
                writes.append(self._store.delete_run(visitor_key, run_id))
            for write in writes:
                with suppress(NotFoundError):  # of a run that was never stored
                    wait_for(write)
        self.publish_deletions()

    def _drop(self, live: Sequence[LiveRun], run_id: str) -> None:
        """Keep nothing of a run in memory, and stop those of `live` that have read it."""
        doomed = [run for run in live if run.id == run_id]
        readers = [run for run in live if any(turn.run_id == run_id for turn in run.turns)]
        self._runs.remove(doomed)
        self._runner.stop_all([*doomed, *readers], END_TIMEOUT_S)
        for run in readers:
            run.forget_turn(run_id)

    def delete_conversation(self, visitor_key: str, conversation_id: str) -> list[str]:
        """Delete all runs of a conversation, also unstored ones, and its name. Returns the runs' ids."""
        stored: list[str] = self._store.run_ids_of(visitor_key, conversation_id)
        live = [run.id for run in self._runs.of(owner_of(visitor_key)) if run.conversation_id == conversation_id]
        run_ids = list(dict.fromkeys([*stored, *live]))
        self.delete_runs(visitor_key, run_ids)
        return run_ids

    def delete_all(self, visitor_key: str) -> None:
        """Delete everything of a visitor. Raises StorageError if more of theirs may be read back from the mirror."""
        owner = owner_of(visitor_key)
        is_all_here = self._mirror is None or self._mirror.is_restored
        with self._runs.changing(owner):  # so that none of their runs can begin meanwhile
            for companion in self._companions:
                companion.forget(visitor_key)
            live = self._runs.of(owner)
            self._runs.remove(live)
            self._runner.stop_all(live, END_TIMEOUT_S)
            self._members.forget(owner)
            wait_for(self._store.delete_visitor(visitor_key))
            for companion in self._companions:  # what others' requests have read again meanwhile
                companion.forget(visitor_key)
            self.publish_deletions()
        if not is_all_here:
            raise StorageError(
                Phrase("Deleted here. Published votes are still being read. Delete everything again in a few minutes.")
            )

    def publish_deletions(self) -> None:
        """Mark what was deleted in the published copies. Raises StorageError if that fails now; it is tried again."""
        if self._mirror:
            self._mirror.flush_deletions()


def _judge(run: RunView, outcome: str | None, write: Future[None]) -> None:
    """Count a vote once it is stored, even if the visitor no longer waits."""

    def note(done: Future[None]) -> None:
        if done.exception() is None:
            run.outcome = outcome

    write.add_done_callback(note)
    wait_for(write)
    note(write)  # the callback may not have run yet
