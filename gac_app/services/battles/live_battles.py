"""The battles in memory, each accessible to its owner alone."""

from __future__ import annotations

import hmac
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

from gac_app.errors import NotFoundError, RequestError
from gac_app.services.battles.battles import UNDO_S, Battle
from gac_app.storage import Store

KEPT_BATTLES = 128
UNDO_WRITTEN_S = 60.0  # time that another server may need to store an undo


class LiveBattles:
    """Battles of this process, oldest first.

    Args:
        store: knows the battles of other servers.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._battles: OrderedDict[str, Battle] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, battle: Battle) -> list[Battle]:
        """Keep a battle. Returns the battles dropped to make room."""
        with self._lock:
            self._battles[battle.id] = battle
            gone = []
            while len(self._battles) > KEPT_BATTLES and (one := self._next_out()):
                gone.append(self._battles.pop(one.id))
            return gone

    def _next_out(self) -> Battle | None:
        """The finished battle to drop first: one that can no longer be judged, else the oldest of the browser that has
        most, of the address that has most.
        """
        over = [one for one in self._battles.values() if one.last.over.is_set()]
        if settled := [one for one in over if one.is_settled]:
            return settled[0]
        for name_of in (attrgetter("client"), attrgetter("owner")):
            counts = Counter(map(name_of, self._battles.values()))
            most = max((counts[name_of(one)] for one in over), default=0)
            over = [one for one in over if counts[name_of(one)] == most]
        return over[0] if over else None

    def find(self, owner: str, battle_id: str) -> Battle:
        """A battle by its id. Raises NotFoundError, also for another owner's."""
        with self._lock:
            battle = self._battles.get(battle_id)
        if battle is None or not hmac.compare_digest(battle.owner, owner):
            raise NotFoundError("there is no such battle")
        return battle

    @contextmanager
    def judging(self, owner: str, battle_id: str) -> Iterator[Battle]:
        """Serialises the judgements of a battle: others wait until this one is stored."""
        battle = self.find(owner, battle_id)
        with battle.judging:
            yield battle

    @contextmanager
    def changing(self, owner: str, battle_id: str) -> Iterator[Battle]:
        """Serialises changes of a battle. Raises RequestError while the last judgement is not stored."""
        battle = self.find(owner, battle_id)
        with battle.lock:
            if not battle.note_row():
                raise RequestError("vote", "the database is busy and has not taken the last one yet; please wait")
            yield battle

    def all(self) -> list[Battle]:
        with self._lock:
            return list(self._battles.values())

    def open_ids(self) -> frozenset[str]:
        """The ids of battles, here or on other servers, that can be judged or whose vote can be taken back: their names
        are secret.
        """
        return frozenset(one.id for one in self.all() if not one.is_settled) | self.elsewhere()

    def revocable_ids(self) -> frozenset[str]:
        """The open battles whose vote can still be taken back, and does not count yet."""
        own = (one for one in self.all() if not one.is_told and (one.outcome is not None or one.unwritten))
        return frozenset(one.id for one in own) | self.elsewhere()

    def elsewhere(self) -> frozenset[str]:
        """The ids of other servers' battles that may be judged there."""
        return self._store.battles.held_elsewhere(UNDO_S + UNDO_WRITTEN_S)

    def take_out(self, owner: str, battle_id: str | None = None) -> list[Battle]:
        """Remove and return an owner's battle, or all of theirs."""
        with self._lock:
            own = [one for one in self._battles.values() if hmac.compare_digest(one.owner, owner)]
            found = [one for one in own if battle_id in (None, one.id)]
            for battle in found:
                del self._battles[battle.id]
        return found
