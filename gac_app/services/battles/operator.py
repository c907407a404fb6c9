"""The operator's view of the arena: votes that do not count or that come in crowds, verdicts on them, and controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gac_app.arena.controls import Controls, controls_of
from gac_app.arena.outcomes import Verdict, flags_of
from gac_app.errors import NotFoundError, RequestError
from gac_app.services.settling import settle
from gac_app.storage import CastVote, Store

_AT_ONCE = 500  # verdicts in one transaction
MAX_GROUPS = 200  # in the queue, of each kind


def today() -> datetime:
    """The beginning of the day, in UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class _Vote:
    """A vote with its flags, and the operator's verdict, if there is one."""

    cast: CastVote
    flags: tuple[str, ...]
    verdict: str


class Operator:
    """What the operator sees and does. Nothing here asks who calls: the routes do.

    Args:
        contestants: the names of today's.
        revocable: gives the ids of battles whose vote can still be taken back.
    """

    def __init__(self, store: Store, contestants: Sequence[str], revocable: Callable[[], frozenset[str]]) -> None:
        self._store, self._contestants, self._revocable = store, tuple(contestants), revocable

    def overview(self) -> dict[str, Any]:
        """Controls, counts per pair, and the queue, JSON-able.

        The queue has visitors, by pseudonym, and bursts, which are an address's votes of a day, that have flagged votes
        or a verdict. The newest come first.
        """
        votes = self._votes()
        pairs = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes)
        flagged = Counter(tuple(sorted((vote.cast.left, vote.cast.right))) for vote in votes if vote.flags)
        controls = controls_of(self._store.battles.controls())
        return {
            "controls": controls.model_dump(),
            "contestants": self._contestants,
            "num_today": self._store.battles.num_started(today()),
            "num_votes": len(votes),
            "num_flagged": sum(bool(vote.flags) for vote in votes),
            "pairs": [{"names": pair, "num": num, "num_flagged": flagged[pair]} for pair, num in sorted(pairs.items())],
            "visitors": _groups(votes, lambda vote: vote.cast.visitor),
            "bursts": _groups(votes, lambda vote: vote.cast.client),
        }

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
        for at in range(0, len(chosen), _AT_ONCE):
            settle(self._store.battles.give_verdict(chosen[at : at + _AT_ONCE], str(verdict)))
        return len(chosen)

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

    def _votes(self) -> list[_Vote]:
        verdicts = self._store.battles.verdicts()
        found = []
        for one in self._cast():
            flags = json.loads(one.facts).get("flags", ()) if b'"flags":["' in one.facts else ()
            verdict = verdicts.get(one.battle_id, "")
            found.append(_Vote(one, flags_of(flags, verdict or None), verdict))
        return found


def _groups(votes: Iterable[_Vote], name_of: Callable[[_Vote], str]) -> list[dict[str, Any]]:
    """The votes by name, of names that have flagged votes or a verdict; newest first."""
    groups: dict[str, list[_Vote]] = {}
    for vote in votes:
        groups.setdefault(name_of(vote), []).append(vote)
    suspect = [
        (name, group) for name, group in groups.items() if name and any(one.flags or one.verdict for one in group)
    ]
    return [_group(name, group) for name, group in suspect[:MAX_GROUPS]]


def _group(name: str, votes: Sequence[_Vote]) -> dict[str, Any]:
    wins = Counter(side for vote in votes if (side := _winner(vote.cast)))
    return {
        "name": name,
        "num": len(votes),
        "num_flagged": sum(bool(vote.flags) for vote in votes),
        "num_visitors": len({vote.cast.visitor for vote in votes}),
        "flags": dict(Counter(flag for vote in votes for flag in vote.flags).most_common()),
        "num_restored": sum(vote.verdict == Verdict.RESTORED for vote in votes),
        "wins": dict(wins.most_common(3)),
        "first": min(vote.cast.created_at for vote in votes).isoformat(),
        "last": max(vote.cast.created_at for vote in votes).isoformat(),
    }


def _winner(vote: CastVote) -> str:
    return {"left": vote.left, "right": vote.right}.get(vote.outcome, "")
