"""The operator's view of the arena: who voted how much and for whom, verdicts on votes, and controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gac_app.arena.controls import Controls, controls_of
from gac_app.arena.outcomes import SIDES, Verdict, flags_of
from gac_app.arena.rating.votes import Votebook, VoteFilter, Votes
from gac_app.errors import NotFoundError, RequestError
from gac_app.recent import Recent
from gac_app.services.battles.standings import Standings
from gac_app.services.queue.shares import voter_of
from gac_app.services.settling import settle
from gac_app.storage import CastVote, Store

_AT_ONCE = 500  # verdicts in one transaction
_MAX_COUNTED = 10_000  # addresses whose battles are counted
MAX_GROUPS = 200  # that are listed, of each kind
NUM_HEAVIEST = 5  # addresses that the other leaderboard leaves out


def today() -> datetime:
    """The beginning of the day, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class _Vote:
    """A vote with its flags, its weight, and the operator's verdict, if there is one."""

    cast: CastVote
    flags: tuple[str, ...]
    verdict: str
    weight: float


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
        """Controls, counts per pair, ratings with and without the heaviest addresses, and who voted, JSON-able.

        Visitors, by pseudonym, and bursts, which are the votes of an address within 15 days, come by their weight, then
        by how one-sided they are.
        """
        store = self._store.battles
        version = (*store.votes_version(), store.num_judgements())
        if self._kept is None or self._kept[0] != version:
            self._kept = version, self._figures()
        controls = controls_of(store.controls())
        return {"controls": controls.model_dump(), "num_today": self._num_today(), **self._kept[1]}

    def _figures(self) -> dict[str, Any]:
        """What the overview tells of the votes; takes seconds for many."""
        book = Votebook(self._standings.listed)
        rows = self._store.battles.votes()
        book.add(rows)
        weight_N = book.votes.weights(VoteFilter())
        votes = self._votes(dict(zip((row.battle_id for row in rows), weight_N.tolist(), strict=True)))
        bursts = _groups(votes, lambda vote: vote.cast.client)
        heaviest = {group["name"] for group in bursts[:NUM_HEAVIEST]}
        others = book.votes.where(np.array([row.client not in heaviest for row in rows], dtype=bool))
        pairs = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes)
        flagged = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes if vote.flags)
        return {
            "contestants": self._standings.listed,
            "num_votes": len(votes),
            "num_flagged": sum(bool(vote.flags) for vote in votes),
            "pairs": [{"names": pair, "num": num, "num_flagged": flagged[pair]} for pair, num in sorted(pairs.items())],
            "visitors": _groups(votes, lambda vote: vote.cast.visitor),
            "bursts": bursts,
            "num_left_out": len(heaviest),
            "ratings": self._ratings(book.votes),
            "ratings_without": self._ratings(others),
        }

    def _ratings(self, votes: Votes) -> dict[str, float]:
        """Those of rated contestants, best first."""
        board = self._standings.board_of(votes)
        return {line.name: line.rating for line in board.standings if line.rating is not None}

    def judge(self, fields: Mapping[str, Any]) -> int:
        """Drop or restore votes; new ones are not affected. Returns their number.

        Args:
            fields: `verdict`, a value of `Verdict`, and `by`: "visitor" or "burst", whose `name` is as in the overview,
                or "span", for votes from `since` until `before` (ISO 8601) in which `contestant` has part ("" = any).

        Raises:
            RequestError, NotFoundError, StorageError.
        """
        verdict, by = fields.get("verdict"), fields.get("by")
        if verdict not in list(Verdict):
            raise RequestError("verdict", f"expected one of {', '.join(Verdict)}")
        if by not in ("visitor", "burst", "span"):
            raise RequestError("by", "expected one of visitor, burst, span")
        votes = self._store.battles.cast()
        if by == "span":
            begin, end = (_moment(field, fields.get(field)) for field in ("since", "before"))
            within = [one for one in votes if begin <= one.created_at < end]
            chosen = [one for one in within if fields.get("contestant") in ("", one.left, one.right)]
        else:
            named = [(one.visitor if by == "visitor" else one.client, one) for one in votes]
            chosen = [one for name, one in named if name and name == fields.get("name")]
        if not chosen:
            raise NotFoundError("no such votes")
        for at in range(0, len(chosen), _AT_ONCE):
            battle_ids = [one.battle_id for one in chosen[at : at + _AT_ONCE]]
            settle(self._store.battles.give_verdict(battle_ids, str(verdict)))
        return len(chosen)

    def set(self, value: object) -> Controls:
        """Replace the controls. Raises RequestError, StorageError."""
        controls, listed = controls_of(value), self._standings.listed
        if unknown := sorted(set(controls.weights) - set(listed)):
            raise RequestError("weights", f"there is no contestant {unknown[0]!r}")
        if sum(controls.weights.get(name, 1.0) > 0 for name in listed) < 2:
            raise RequestError("weights", "expected at least two contestants that do not rest")
        settle(self._store.battles.set_controls(controls.model_dump_json().encode()))
        return controls

    def _votes(self, weights: Mapping[str, float]) -> list[_Vote]:
        verdicts = self._store.battles.verdicts()
        found = []
        for one in self._store.battles.cast():
            flags = json.loads(one.facts).get("flags", ()) if b'"flags":["' in one.facts else ()
            verdict = verdicts.get(one.battle_id, "")
            found.append(_Vote(one, flags_of(flags, verdict or None), verdict, weights.get(one.battle_id, 0.0)))
        return found


def _groups(votes: Iterable[_Vote], name_of: Callable[[_Vote], str]) -> list[dict[str, Any]]:
    """The votes by name; the heaviest come first, of equal ones the most one-sided."""
    groups: dict[str, list[_Vote]] = {}
    for vote in votes:
        groups.setdefault(name_of(vote), []).append(vote)
    found = [_group(name, group) for name, group in groups.items() if name]
    return sorted(found, key=lambda one: (-round(one["weight"], 6), -one["lead"]))[:MAX_GROUPS]


def _group(name: str, votes: Sequence[_Vote]) -> dict[str, Any]:
    wins, balance = Counter[str](), Counter[str]()
    for cast in (vote.cast for vote in votes if vote.cast.outcome in SIDES):
        winner, loser = (cast.left, cast.right) if cast.outcome == "left" else (cast.right, cast.left)
        wins[winner] += 1
        balance.update({winner: 1, loser: -1})
    return {
        "name": name,
        "num": len(votes),
        "num_flagged": sum(bool(vote.flags) for vote in votes),
        "num_visitors": len({vote.cast.visitor for vote in votes}),
        "flags": dict(Counter(flag for vote in votes for flag in vote.flags).most_common()),
        "num_restored": sum(vote.verdict == Verdict.RESTORED for vote in votes),
        "weight": sum(vote.weight for vote in votes),
        "lead": max(map(abs, balance.values()), default=0),  # of wins over losses, or losses over wins
        "wins": dict(wins.most_common(3)),
        "first": min(vote.cast.created_at for vote in votes).isoformat(),
        "last": max(vote.cast.created_at for vote in votes).isoformat(),
    }


def _moment(field: str, value: object) -> datetime:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise RequestError(field, "expected a time, such as 2026-01-31T12:00:00+00:00") from None
