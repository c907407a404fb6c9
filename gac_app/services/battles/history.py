"""A visitor's battles, live and stored: shown, listed and deleted. `arena` plays them, `judging` takes the votes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gac_app.arena.outcomes import SIDES, Side
from gac_app.decoding.trace import StepTrace
from gac_app.errors import ElsewhereError, NotFoundError, RequestError
from gac_app.services.battles.live_battles import LiveBattles, revocable_since
from gac_app.services.battles.restored import OtherVersionError
from gac_app.services.battles.views import BattleView, live_view, stored_view
from gac_app.services.runs.live_run import LiveStream
from gac_app.services.runs.runs import RunService
from gac_app.services.settling import log_failure, settle
from gac_app.services.visitors import owner_of
from gac_app.settings import Settings
from gac_app.storage import Store, StoredBattle

_LOOK_S = 1.0  # a page looks 10 to 20 times a second while answers are shown


class BattleHistory:
    """Finds, lists and deletes battles. Contestants' names are told only once the vote can no longer change.

    Args:
        battles: the battles in memory.
    """

    def __init__(self, runs: RunService, store: Store, battles: LiveBattles) -> None:
        self._runs, self._store, self._battles = runs, store, battles

    def look(self, visitor_key: str, battle_id: str) -> BattleView:
        """A visitor's battle as it is now. Raises NotFoundError, also for another visitor's or one that another server
        answers.
        """
        try:
            battle = self._battles.find(visitor_key, battle_id, _LOOK_S)
        except ElsewhereError:
            raise
        except NotFoundError as error:
            stored = self._store.battles.load(visitor_key, battle_id)
            return stored_view(stored, why_not=str(error) if isinstance(error, OtherVersionError) else "")
        with battle.lock:
            if battle.is_told and not battle.is_final:  # its time has run out: nobody may take the vote back now
                battle.is_final = True
                log_failure(self._store.battles.settle(battle_id), f"battle {battle_id}")
            if battle.is_told and not battle.is_counted:  # earlier, the figures would tell who answers
                battle.is_counted = True
                for turn in battle.turns:
                    self._runs.metrics.answered(turn.streams.values())
            return live_view(battle)

    def answer(self, visitor_key: str, battle_id: str, turn: int, side: Side) -> tuple[LiveStream, Settings]:
        """One answer with its tokens, and its settings: after the names are told, while it is in memory."""
        battle = self._battles.find(visitor_key, battle_id)
        with battle.lock:
            if not battle.is_told:
                raise RequestError("steps", "are shown after the vote")
            if side not in SIDES or not 0 <= turn < len(battle.turns):
                raise RequestError("turn", "there is no such answer")
            run = battle.turns[turn]
            if not run.streams[side].steps:
                raise NotFoundError("the steps of this answer are no longer in memory")
            return run.streams[side], run.settings_of(side)

    def steps(
        self, visitor_key: str, battle_id: str, turn: int, side: Side, position: int
    ) -> tuple[Sequence[StepTrace], Settings]:
        """The steps of one answer, one of them at `position`, and its settings: after the names are told."""
        stream, settings = self.answer(visitor_key, battle_id, turn, side)
        if not 0 <= position < len(stream.steps):
            raise RequestError("position", "there is no such step")
        return stream.steps, settings

    def own(self, visitor_key: str) -> Iterator[StoredBattle]:
        """A visitor's battles whose names are told, oldest first: a stored battle names both contestants."""
        owner_of(visitor_key)
        open_ids = self._battles.open_ids()
        found = self._store.battles.export(visitor_key)
        return (one for one in found if one.battle_id not in open_ids and one.is_told)

    def newest(self, visitor_key: str, limit: int) -> tuple[list[StoredBattle], int]:
        """A visitor's battles, newest first, without open ones, and how many there are. Names may be told of those
        that are `is_told`.
        """
        owner_of(visitor_key)
        return self._store.battles.newest(visitor_key, limit, revocable_since())

    def delete(self, visitor_key: str, battle_id: str) -> None:
        """Delete a battle with its vote and all its text: in memory, in prefix caches, and in the database's files."""
        owner = owner_of(visitor_key)
        with self._runs.changing(visitor_key):
            self.drop(owner, battle_id)
            self._runs.members.forget(owner, battle_id)
            settle(self._store.delete_battle(visitor_key, battle_id))
            self._runs.history.publish_deletions()

    def drop(self, owner: str, battle_id: str | None = None) -> None:
        """Stop an owner's battle, or all of theirs, and keep nothing of it in memory."""
        for battle in self._battles.take_out(owner, battle_id):
            self._runs.halt(battle.last)
