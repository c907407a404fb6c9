"""A visitor's battles: those in memory, and those in the database, found, shown, listed and deleted.

The server that answers a battle judges it, so that only one tells names.
"""

from __future__ import annotations

import hmac
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from gac_app.arena.outcomes import SIDES, Side
from gac_app.errors import ElsewhereError, NotFoundError, Phrase, RequestError
from gac_app.services.battles.battles import Battle
from gac_app.services.battles.records import OtherVersionError, is_shown, restored
from gac_app.services.battles.views import SAVING, BattleView, live_view, stored_view
from gac_app.services.runs.live_run import LiveStream
from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of
from gac_app.services.writes import wait_for
from gac_app.settings import Settings
from gac_app.storage import Store, StoredBattle

KEPT_BATTLES = 128


class VisitorBattles:
    """Each battle is its owner's alone. Contestants' names are told only once the vote can no longer change.

    Args:
        store: has the battles that are not in memory, and knows who judges each.
    """

    def __init__(self, runs: RunService, store: Store) -> None:
        self._runs, self._store = runs, store
        self._battles: dict[str, Battle] = {}  # of this process, oldest first
        self._lock = threading.Lock()

    # --- in memory

    def add(self, battle: Battle) -> Battle:
        """Keep a battle, and drop others to make room. Returns the one that is kept, which may have come before."""
        with self._lock:
            kept = self._battles.setdefault(battle.id, battle)
            while len(self._battles) > KEPT_BATTLES and (one := self._eviction_candidate()):
                del self._battles[one.id]
            return kept

    def _eviction_candidate(self) -> Battle | None:
        """The finished battle to drop first: one that can no longer be judged, else the oldest of the browser that has
        most, of the address that has most. It comes back if its owner asks for it.
        """
        over = [one for one in self._battles.values() if one.last.over.is_set() and one.unwritten is None]
        if final := [one for one in over if one.is_final]:
            return final[0]
        for name_of in (attrgetter("client"), attrgetter("owner")):
            counts = Counter(map(name_of, self._battles.values()))
            most = max((counts[name_of(one)] for one in over), default=0)
            over = [one for one in over if counts[name_of(one)] == most]
        return over[0] if over else None

    def all(self) -> list[Battle]:
        with self._lock:
            return list(self._battles.values())

    def drop(self, owner: str, battle_id: str | None = None) -> None:
        """Stop an owner's battle, or all of theirs, and keep nothing of it in memory."""
        with self._lock:
            own = [one for one in self._battles.values() if hmac.compare_digest(one.owner, owner)]
            found = [one for one in own if battle_id in (None, one.id)]
            for battle in found:
                del self._battles[battle.id]
        for battle in found:
            self._runs.halt(battle.last)

    def find(self, visitor_key: str, battle_id: str) -> Battle:
        """A visitor's battle by its id, from the database if it is not in memory.

        Raises:
            NotFoundError: there is none, or it is another visitor's.
            ElsewhereError: another server has it, or it is still being shown.
            OtherVersionError: it cannot be judged here.
            StorageError: the database failed.
        """
        owner = owner_of(visitor_key)
        with self._lock:
            battle = self._battles.get(battle_id)
        if battle is None:
            return self._restored(visitor_key, battle_id)
        if not hmac.compare_digest(battle.owner, owner):
            raise NotFoundError(Phrase("No such battle."))
        with battle.lock:
            battle.note_row()
        return battle

    def _restored(self, visitor_key: str, battle_id: str) -> Battle:
        """A battle that this server answered, before it was started again or needed the room."""
        self._adopt(visitor_key)
        found = self._store.battles.load(visitor_key, battle_id)
        if (holding := self._store.battles.holding(battle_id)) is None:
            raise NotFoundError(Phrase("No such battle."))
        if holding.server_id != self._store.server_id:
            raise ElsewhereError(Phrase("Another server has this battle."))
        if not is_shown(found):
            raise ElsewhereError(Phrase("This battle is still being shown. Look at it again in a moment."))
        return self.add(restored(found, owner_of(visitor_key), holding.client))

    @contextmanager
    def judging(self, visitor_key: str, battle_id: str) -> Iterator[Battle]:
        """Serialises the judgements of a battle: others wait until this one is stored."""
        battle = self.find(visitor_key, battle_id)
        with battle.judging:
            yield battle

    @contextmanager
    def changing(self, visitor_key: str, battle_id: str) -> Iterator[Battle]:
        """Serialises changes of a battle. Raises RequestError while the last judgement is not stored."""
        battle = self.find(visitor_key, battle_id)
        with battle.lock:
            if not battle.note_row():
                raise RequestError("vote", SAVING)
            yield battle

    # --- for its owner

    def look(self, visitor_key: str, battle_id: str) -> BattleView:
        """A visitor's battle as it is now. Raises NotFoundError, also for another visitor's or one that another server
        answers.
        """
        try:
            battle = self.find(visitor_key, battle_id)
        except ElsewhereError:
            raise
        except NotFoundError as error:
            stored = self._store.battles.load(visitor_key, battle_id)
            return stored_view(stored, why_not=error.user_message if isinstance(error, OtherVersionError) else "")
        with battle.lock:
            if battle.names_revealed and not battle.is_counted:  # earlier, the figures would tell who answers
                battle.is_counted = True
                for turn in battle.turns:
                    self._runs.metrics.answered(turn.streams.values())
            return live_view(battle)

    def answer(self, visitor_key: str, battle_id: str, turn: int, side: Side) -> tuple[LiveStream, Settings]:
        """One answer with its tokens, and its settings: after the names are told, while it is in memory."""
        battle = self.find(visitor_key, battle_id)
        with battle.lock:
            if not battle.names_revealed:
                raise RequestError("steps", Phrase("Vote first, then see the steps."))
            if side not in SIDES or not 0 <= turn < len(battle.turns):
                raise RequestError("turn", Phrase("No such answer."))
            run = battle.turns[turn]
            if not run.streams[side].steps:
                raise NotFoundError(Phrase("The steps of this answer are no longer in memory."))
            return run.streams[side], run.settings_of(side)

    def own(self, visitor_key: str) -> Iterator[StoredBattle]:
        """A visitor's battles whose names are told, oldest first: a stored battle names both contestants."""
        self._adopt(visitor_key)
        return (one for one in self._store.battles.export(visitor_key) if one.names_revealed)

    def newest(self, visitor_key: str, limit: int) -> tuple[list[StoredBattle], int]:
        """As `BattleStore.newest`."""
        self._adopt(visitor_key)
        return self._store.battles.newest(visitor_key, limit)

    def _adopt(self, visitor_key: str) -> None:
        owner_of(visitor_key)
        self._runs.history.adopt(visitor_key)

    def delete(self, visitor_key: str, battle_id: str) -> None:
        """Delete a battle with its vote and all its text: in memory, in prefix caches, and in the database's files."""
        owner = owner_of(visitor_key)
        with self._runs.changing(visitor_key):
            self.drop(owner, battle_id)
            self._runs.members.forget(owner, battle_id)
            self._adopt(visitor_key)
            wait_for(self._store.delete_battle(visitor_key, battle_id))
            self._runs.history.publish_deletions()
