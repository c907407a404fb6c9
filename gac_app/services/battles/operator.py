"""The operator's view of the arena: how many votes there are, verdicts on them, and controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gac_app.arena.controls import Controls, controls_of
from gac_app.arena.outcomes import Verdict, flags_of
from gac_app.errors import NotFoundError, RequestError
from gac_app.recent import Recent
from gac_app.services.battles.standings import Standings
from gac_app.services.queue.shares import voter_of
from gac_app.services.writes import wait_for
from gac_app.storage import Store

_AT_ONCE = 500  # verdicts in one transaction
_MAX_COUNTED = 10_000  # addresses whose battles are counted


def today() -> datetime:
    """The beginning of the day, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


class Operator:
    """What the operator sees and does. Nothing here asks who calls: the routes do."""

    def __init__(self, store: Store, standings: Standings) -> None:
        self._store, self._standings = store, standings
        self._kept: tuple[object, dict[str, Any]] | None = None  # what the overview tells of the votes, and its version
        self._started: Recent[tuple[datetime, str], int] = Recent(_MAX_COUNTED)

    def started(self, client: str) -> None:
        """Count a battle of an address, also if it is deleted. Others must not call this meanwhile."""
        for counted in {(today(), address) for address in ("", voter_of(client))}:
            self._started[counted] = self._started.get(counted, 0) + 1

    def _num_today(self, address: str = "") -> int:
        """Battles that an address or everybody has started today: deleted ones count on the server that began them."""
        day = today()
        return max(self._started.get((day, address), 0), self._store.battles.num_started(day, client=address))

    def has_battles_left(self, controls: Controls, client: str) -> bool:
        """Whether an address may start a battle today: it starts no more than it leaves to others."""
        most, address = controls.battles_per_day, voter_of(client)
        return not most or (self._num_today(address) if address else 0) < most - self._num_today()

    def overview(self) -> dict[str, Any]:
        """Controls, counts per pair, and ratings, JSON-able."""
        store = self._store.battles
        version = (*store.votes_version(), store.num_judgements())
        if self._kept is None or self._kept[0] != version:
            self._kept = version, self._figures()
        controls = controls_of(store.controls())
        return {"controls": controls.model_dump(), "num_today": self._num_today(), **self._kept[1]}

    def _figures(self) -> dict[str, Any]:
        """What the overview tells of the votes; takes seconds for many."""
        verdicts = self._store.battles.verdicts()
        num, num_flagged = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        for one in self._store.battles.cast():
            flags = json.loads(one.facts).get("flags", ()) if b'"flags":["' in one.facts else ()
            pair = tuple(sorted((one.left, one.right)))
            num[pair] += 1
            num_flagged[pair] += bool(flags_of(flags, verdicts.get(one.battle_id)))
        board = self._standings.rated("blind")
        return {
            "contestants": self._standings.listed,
            "num_votes": num.total(),
            "num_flagged": num_flagged.total(),
            "pairs": [{"names": pair, "num": num[pair], "num_flagged": num_flagged[pair]} for pair in sorted(num)],
            "ratings": {line.name: line.rating for line in board.standings if line.rating is not None},
        }

    def judge(self, fields: Mapping[str, Any]) -> int:
        """Drop or restore votes; new ones are not affected. Returns their number.

        Args:
            fields: `verdict`, a value of `Verdict`; `since` and `before` (ISO 8601); `contestant`, who has part in the
                votes ("" = any).

        Raises:
            RequestError, NotFoundError, StorageError.
        """
        verdict, contestant = fields.get("verdict"), fields.get("contestant")
        if verdict not in list(Verdict):
            raise RequestError("verdict", f"expected one of {', '.join(Verdict)}")
        begin, end = (_moment(field, fields.get(field)) for field in ("since", "before"))
        votes = self._store.battles.cast()
        chosen = [v for v in votes if begin <= v.created_at < end and contestant in ("", v.left, v.right)]
        if not chosen:
            raise NotFoundError("no such votes")
        for at in range(0, len(chosen), _AT_ONCE):
            battle_ids = [one.battle_id for one in chosen[at : at + _AT_ONCE]]
            wait_for(self._store.battles.give_verdict(battle_ids, str(verdict)))
        return len(chosen)

    def set(self, value: object) -> Controls:
        """Replace the controls. Raises RequestError, StorageError."""
        controls, listed = controls_of(value), self._standings.listed
        if unknown := sorted(set(controls.weights) - set(listed)):
            raise RequestError("weights", f"there is no contestant {unknown[0]!r}")
        if sum(controls.weights.get(name, 1.0) > 0 for name in listed) < 2:
            raise RequestError("weights", "expected at least two contestants that do not rest")
        wait_for(self._store.battles.set_controls(controls.model_dump_json().encode()))
        return controls


def _moment(field: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise RequestError(field, "expected a time, such as 2026-01-31T12:00:00+00:00") from None
