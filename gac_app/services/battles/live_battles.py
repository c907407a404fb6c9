"""The battles in memory, each accessible to its owner alone.

One server at a time judges a battle. Another one that is asked to takes it over in the database, and this one forgets
it. So at most one server tells names, and only while no other one can take the vote back.
"""

from __future__ import annotations

import hmac
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from gac_app.errors import ElsewhereError, NotFoundError, RequestError, StorageError
from gac_app.services.battles.battles import UNDO_S, Battle
from gac_app.services.battles.restored import is_shown, restored
from gac_app.services.settling import settle
from gac_app.services.visitors import owner_of
from gac_app.storage import Store

KEPT_BATTLES = 128
UNDO_WRITTEN_S = 60.0  # time that a server may need to store an undo


class LiveBattles:
    """Battles of this process, oldest first.

    Args:
        store: has the battles that are not in memory, and knows who judges each.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._battles: OrderedDict[str, Battle] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, battle: Battle) -> Battle:
        """Keep a battle, and drop others to make room. Returns the one that is kept, which may have come before."""
        with self._lock:
            kept = self._battles.setdefault(battle.id, battle)
            while len(self._battles) > KEPT_BATTLES and (one := self._next_out()):
                del self._battles[one.id]
            return kept

    def _next_out(self) -> Battle | None:
        """The finished battle to drop first: one that can no longer be judged, else the oldest of the browser that has
        most, of the address that has most. It comes back if its owner asks for it.
        """
        over = [one for one in self._battles.values() if one.last.over.is_set() and one.unwritten is None]
        if settled := [one for one in over if one.is_settled]:
            return settled[0]
        for name_of in (attrgetter("client"), attrgetter("owner")):
            counts = Counter(map(name_of, self._battles.values()))
            most = max((counts[name_of(one)] for one in over), default=0)
            over = [one for one in over if counts[name_of(one)] == most]
        return over[0] if over else None

    def find(self, visitor_key: str, battle_id: str, within_s: float = 0.0) -> Battle:
        """A visitor's battle by its id. One that is not in memory, or that another server has judged since, is taken
        over. Raises NotFoundError, also for another visitor's; ElsewhereError while another server answers it;
        OtherVersionError if it cannot be judged here; StorageError.

        Args:
            within_s: who judges it is not asked again so long, while its answers are still being shown.
        """
        owner = owner_of(visitor_key)
        with self._lock:
            battle = self._battles.get(battle_id)
        if battle is None:
            return self._taken_over(visitor_key, battle_id)
        if not hmac.compare_digest(battle.owner, owner):
            raise NotFoundError("there is no such battle")
        if self._is_held(battle, within_s):
            return battle
        with self._lock:
            self._battles.pop(battle_id, None)
        again = self._taken_over(visitor_key, battle_id)
        again.cast = battle.cast
        return again

    def _is_held(self, battle: Battle, within_s: float) -> bool:
        """Whether this server judges a battle in memory, or what another one made of it is known here."""
        if battle.is_final or not battle.last.over.is_set():
            return True
        is_shown = battle.outcome is not None or battle.last.is_answered(battle.num_shown())
        if not is_shown and battle.clock() < battle.held_at + within_s:
            return True
        try:
            holding = self._store.battles.holding(battle.id)
        except StorageError:
            if battle.is_told:
                raise  # rather than telling names while another server may take the vote back
            return True
        if holding is None or holding.server_id == self._store.server_id:  # the former: not written yet
            battle.held_at = battle.clock()
            return True
        if holding.server_id is not None or holding.num_rows != battle.num_rows:
            return False
        battle.is_revealed |= battle.outcome is not None  # by another server
        return battle.is_settled

    def _taken_over(self, visitor_key: str, battle_id: str) -> Battle:
        """A battle from the database, if it can be judged."""
        found = self._store.battles.load(visitor_key, battle_id)
        if not self.is_open(battle_id):
            raise NotFoundError("there is no such battle")
        if not is_shown(found):
            raise ElsewhereError("Another server answers this battle; it can be judged here when it is done.")
        owner = owner_of(visitor_key)
        restored(found, owner, "")  # before it is taken from a server that can judge it
        stored, client = settle(self._store.battles.take_over(visitor_key, battle_id))
        return self.add(restored(stored, owner, client))

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
                raise RequestError("vote", "the database is busy and has not taken the last one yet; please wait")
            yield battle

    def get(self, battle_id: str) -> Battle | None:
        """A battle in memory, of any owner."""
        with self._lock:
            return self._battles.get(battle_id)

    def all(self) -> list[Battle]:
        with self._lock:
            return list(self._battles.values())

    def is_open(self, battle_id: str) -> bool:
        """Whether a battle is one of `open_ids`."""
        return battle_id in self._store.battles.open_ids(revocable_since(), battle_id)

    def open_ids(self) -> frozenset[str]:
        """The ids of battles, here or on other servers, that can be judged or whose vote can be taken back: their names
        are secret.
        """
        return self._store.battles.open_ids(revocable_since())

    def revocable_ids(self) -> frozenset[str]:
        """The open battles whose vote can still be taken back, and does not count yet."""
        return self._store.battles.revocable_ids(revocable_since())

    def take_out(self, owner: str, battle_id: str | None = None) -> list[Battle]:
        """Remove and return an owner's battle, or all of theirs."""
        with self._lock:
            own = [one for one in self._battles.values() if hmac.compare_digest(one.owner, owner)]
            found = [one for one in own if battle_id in (None, one.id)]
            for battle in found:
                del self._battles[battle.id]
        return found


def revocable_since() -> datetime:
    """An earlier vote stands, unless it is known here that it was taken back."""
    return datetime.now(UTC) - timedelta(seconds=UNDO_S + UNDO_WRITTEN_S)
