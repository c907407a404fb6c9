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
from gac_app.arena.rating.leaderboard import leaderboard_of
from gac_app.arena.rating.votes import Votebook, VoteFilter, Votes
from gac_app.errors import NotFoundError, RequestError
from gac_app.services.queue.shares import voter_of
from gac_app.services.settling import settle
from gac_app.storage import CastVote, Store

_AT_ONCE = 500  # verdicts in one transaction
MAX_GROUPS = 200  # that are listed, of each kind
NUM_HEAVIEST = 5  # addresses that the other leaderboard leaves out


def today() -> datetime:
    """The beginning of the day, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def has_battles_left(store: Store, controls: Controls, client: str) -> bool:
    """Whether an address may start a battle today: it starts no more than it leaves to others."""
    address = voter_of(client)
    num_own = store.battles.num_started(today(), client=address) if address and controls.battles_per_day else 0
    return not controls.battles_per_day or num_own < controls.battles_per_day - store.battles.num_started(today())


@dataclass(frozen=True, slots=True)
class _Vote:
    """A vote with its flags, its weight, and the operator's verdict, if there is one."""

    cast: CastVote
    flags: tuple[str, ...]
    verdict: str
    weight: float


class Operator:
    """What the operator sees and does. Nothing here asks who calls: the routes do.

    Args:
        contestants: the names of today's.
        min_votes: a contestant with fewer is not rated.
        revocable: gives the ids of battles whose vote can still be taken back.
    """

    def __init__(
        self, store: Store, contestants: Sequence[str], min_votes: int, revocable: Callable[[], frozenset[str]]
    ) -> None:
        self._store, self._contestants, self._min_votes = store, tuple(contestants), min_votes
        self._revocable = revocable
        self._kept: tuple[object, dict[str, Any]] | None = None  # what the overview tells of the votes, and its version

    def overview(self) -> dict[str, Any]:
        """Controls, counts per pair, ratings with and without the heaviest addresses, and who voted, JSON-able.

        Visitors, by pseudonym, and bursts, which are the votes of an address within 15 days, come by their weight, then
        by how one-sided they are.
        """
        revocable, store = self._revocable(), self._store.battles
        version = (*store.votes_version(), store.num_judgements(), revocable)
        if self._kept is None or self._kept[0] != version:
            self._kept = version, self._figures(revocable)
        controls = controls_of(store.controls())
        return {"controls": controls.model_dump(), "num_today": store.num_started(today()), **self._kept[1]}

    def _figures(self, revocable: frozenset[str]) -> dict[str, Any]:
        """What the overview tells of the votes but those on `revocable` battles; takes seconds for many votes."""
        book = Votebook(self._contestants)
        rows = [row for row in self._store.battles.votes() if row.battle_id not in revocable]
        book.add(rows)
        weight_N = book.votes.weights(VoteFilter())
        votes = self._votes(dict(zip((row.battle_id for row in rows), weight_N.tolist(), strict=True)))
        bursts = _groups(votes, lambda vote: vote.cast.client)
        heaviest = {group["name"] for group in bursts[:NUM_HEAVIEST]}
        others = book.votes.where(np.array([row.client not in heaviest for row in rows], dtype=bool))
        pairs = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes)
        flagged = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes if vote.flags)
        return {
            "contestants": self._contestants,
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
        board = leaderboard_of(votes.filtered(VoteFilter()), self._contestants, min_votes=self._min_votes)
        return {line.name: line.rating for line in board.standings if line.rating is not None}

    def judge(self, by: object, name: object, verdict: object) -> int:
        """Drop or restore all votes of a visitor or a burst; new ones are not affected. Returns their number.

        Args:
            by: "visitor" or "burst".
            name: as in the overview.
            verdict: a value of `Verdict`.

        Raises:
            RequestError, NotFoundError, StorageError.
        """
        if verdict not in list(Verdict):
            raise RequestError("verdict", f"expected one of {', '.join(Verdict)}")
        if by not in ("visitor", "burst"):
            raise RequestError("by", "expected one of visitor, burst")
        chosen = [one.battle_id for one in self._cast() if (one.visitor if by == "visitor" else one.client) == name]
        if not name or not chosen:
            raise NotFoundError(f"there is no such {by}")
        return self._give(chosen, str(verdict))

    def judge_span(self, since: object, before: object, contestant: object, verdict: object) -> int:
        """As `judge`, of the votes of a time in which a contestant has part.

        Args:
            since, before: ISO 8601, with time zone.
            contestant: "" = any.
        """
        if verdict not in list(Verdict):
            raise RequestError("verdict", f"expected one of {', '.join(Verdict)}")
        begin, end = _moment("since", since), _moment("before", before)
        within = [one for one in self._cast() if begin <= one.created_at < end]
        chosen = [one.battle_id for one in within if contestant in ("", one.left, one.right)]
        if not chosen:
            raise NotFoundError("there are no such votes")
        return self._give(chosen, str(verdict))

    def _give(self, battle_ids: Sequence[str], verdict: str) -> int:
        for at in range(0, len(battle_ids), _AT_ONCE):
            settle(self._store.battles.give_verdict(battle_ids[at : at + _AT_ONCE], verdict))
        return len(battle_ids)

    def set(self, value: object) -> Controls:
        """Replace the controls. Raises RequestError, StorageError."""
        controls = controls_of(value)
        if unknown := sorted(set(controls.weights) - set(self._contestants)):
            raise RequestError("weights", f"there is no contestant {unknown[0]!r}")
        if sum(controls.weights.get(name, 1.0) > 0 for name in self._contestants) < 2:
            raise RequestError("weights", "expected at least two contestants that do not rest")
        settle(self._store.battles.set_controls(controls.model_dump_json().encode()))
        return controls

    def _cast(self) -> list[CastVote]:
        """The votes that stand. Their names may be told to the operator, who might vote too."""
        revocable = self._revocable()
        return [one for one in self._store.battles.cast() if one.battle_id not in revocable]

    def _votes(self, weights: Mapping[str, float]) -> list[_Vote]:
        verdicts = self._store.battles.verdicts()
        found = []
        for one in self._cast():
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
