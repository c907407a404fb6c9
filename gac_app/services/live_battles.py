"""The battles in memory, each to be had by its owner alone."""

from __future__ import annotations

import hmac
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from gac_app.errors import NotFoundError, RequestError
from gac_app.services.battles import Battle

KEPT_BATTLES = 128  # of those that are over, the judged ones go first, then those begun first


class LiveBattles:
    """Battles of this process, oldest first."""

    def __init__(self) -> None:
        self._battles: OrderedDict[str, Battle] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, battle: Battle) -> list[Battle]:
        """Keep a battle; give those that made room for it, which nobody finds any more."""
        with self._lock:
            self._battles[battle.id] = battle
            over = [one for one in self._battles.values() if one.last.over.is_set()]
            over.sort(key=lambda one: not (one.is_told or one.is_skipped))
            gone = over[: max(0, len(self._battles) - KEPT_BATTLES)]
            for one in gone:
                del self._battles[one.id]
            return gone

    def find(self, owner: str, battle_id: str) -> Battle:
        """Raises NotFoundError for another's battle as for none."""
        with self._lock:
            battle = self._battles.get(battle_id)
        if battle is None or not hmac.compare_digest(battle.owner, owner):
            raise NotFoundError("there is no such battle")
        return battle

    @contextmanager
    def judging(self, owner: str, battle_id: str) -> Iterator[Battle]:
        """One judgement of a battle at a time: what comes meanwhile waits until it is written."""
        battle = self.find(owner, battle_id)
        with battle.judging:
            yield battle

    @contextmanager
    def changing(self, owner: str, battle_id: str) -> Iterator[Battle]:
        """One change of a battle at a time. Raises RequestError while the database has not taken the last one."""
        battle = self.find(owner, battle_id)
        with battle.lock:
            if not battle.note_row():
                raise RequestError("vote", "the database is busy and has not taken the last one yet; please wait")
            yield battle

    def all(self) -> list[Battle]:
        with self._lock:
            return list(self._battles.values())

    def sealed(self) -> frozenset[str]:
        """The ids of those that can still be judged, or their votes be taken back: nothing may tell their names."""
        return frozenset(one.id for one in self.all() if not (one.is_told or one.is_skipped))

    def untold(self) -> frozenset[str]:
        """The sealed ones that have a vote."""
        return frozenset(one.id for one in self.all() if not one.is_told and (one.outcome is not None or one.unwritten))

    def take_out(self, owner: str, battle_id: str | None = None) -> list[Battle]:
        """An owner's battle of that id, or all of theirs, which nobody finds any more."""
        with self._lock:
            own = [one for one in self._battles.values() if hmac.compare_digest(one.owner, owner)]
            found = [one for one in own if battle_id in (None, one.id)]
            for battle in found:
                del self._battles[battle.id]
        return found
