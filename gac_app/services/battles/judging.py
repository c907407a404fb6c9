"""Judging a battle: checks a judgement, stores it, and updates the battle once it is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from gac_app.arena.moderation import Cast, Moderator
from gac_app.arena.outcomes import MAX_COMMENT_CHARS, SIDES, Outcome, reasons_of
from gac_app.errors import NotFoundError, Phrase, RequestError, too_long
from gac_app.services.battles.battles import Battle
from gac_app.services.battles.records import facts_of
from gac_app.services.battles.views import SAVING, VOID, BattleView, has_something_to_judge
from gac_app.services.battles.visitor_battles import VisitorBattles
from gac_app.services.queue.shares import voter_of
from gac_app.services.runs.runs import RunService
from gac_app.services.writes import wait_for
from gac_app.storage import Kind, NewJudgement, Store, clean_text

_MEANWHILE = Phrase("This battle has changed meanwhile. Look at it again.")


class Judge:
    """Takes votes, which are final, and remarks. When a method returns, the judgement is in the database.

    If the database is slow, StorageError is raised; the judgement counts once it is stored, and nothing else is
    accepted until then. Judgements of one battle are taken one at a time.
    """

    def __init__(self, runs: RunService, store: Store, battles: VisitorBattles, moderator: Moderator) -> None:
        self._runs, self._store = runs, store
        self._battles, self._moderator = battles, moderator

    def vote(self, visitor_key: str, battle_id: str, outcome: str, version: int) -> BattleView:
        """Judge a battle for good, end its answers if they are still coming, and tell the names.

        Args:
            outcome: "left", "right", "tie" or "both-bad".
            version: `BattleView.version` of the view that was judged.
        """
        if outcome not in list(Outcome):
            raise RequestError("outcome", f"expected one of {', '.join(Outcome)}")
        with self._battles.judging(visitor_key, battle_id) as battle:
            with self._battles.changing(visitor_key, battle_id):
                refuse_judged(battle)
                if version != battle.version:
                    raise RequestError("version", _MEANWHILE)
                shown = battle.num_shown()
                if not has_something_to_judge(battle, shown):
                    raise RequestError(
                        "vote", Phrase("There is nothing to judge yet. Wait for the first words of both answers.")
                    )
                seen = facts_of(battle, shown)
                battle.shown = shown
            try:
                self._runs.halt(battle.last)  # outside the lock, so that the battle can be looked at meanwhile
                write = self._write_vote(battle, visitor_key, Outcome(outcome), seen)
            except BaseException:
                battle.shown = None
                raise
            wait_for(write)
        return self._battles.look(visitor_key, battle_id)

    def _write_vote(self, battle: Battle, visitor_key: str, given: Outcome, seen: Mapping[str, Any]) -> Future[None]:
        """Store the vote on a battle whose answers have ended. `seen`: the facts at the time of the vote."""
        with self._battles.changing(visitor_key, battle.id):
            if battle.is_void:
                raise RequestError("vote", VOID)
            facts = facts_of(battle, seen["shown"]) | {name: seen[name] for name in ("seconds", "early", "stopped")}
            cast = _cast(battle, facts["seconds"])
            facts["flags"] = self._moderator.flags(cast)

            def count() -> None:
                battle.outcome = given
                self._runs.metrics.voted("arena")

            row = NewJudgement(kind=Kind.VOTE, outcome=given, facts=facts)
            write = self._submit(battle, visitor_key, row, count)
        write.add_done_callback(lambda done: self._moderator.undone(cast) if done.exception() else None)
        return write

    def remark(
        self, visitor_key: str, battle_id: str, reasons: Mapping[str, Sequence[str]], comment: str
    ) -> BattleView:
        """Give reasons for the vote, and a comment. A later remark replaces an earlier one.

        Args:
            reasons: values of `Reason` per side: {"left": [...], "right": [...]}.
        """
        found = {side: reasons_of(reasons.get(side, ()), side) for side in SIDES}
        if not isinstance(comment, str) or len(comment) > MAX_COMMENT_CHARS:
            raise RequestError("comment", too_long(len(comment), MAX_COMMENT_CHARS))
        body = {"reasons": found, "comment": clean_text(comment).strip()}
        try:
            self._battles.find(visitor_key, battle_id)
        except NotFoundError:
            wait_for(self._remark_on_revealed(visitor_key, battle_id, body))
            return self._battles.look(visitor_key, battle_id)
        with self._battles.judging(visitor_key, battle_id) as battle:
            with self._battles.changing(visitor_key, battle_id):
                if battle.outcome is None:
                    raise RequestError("reasons", Phrase("Vote first, then say why."))
                row = NewJudgement(kind=Kind.REMARK, body=body)
                write = self._submit(battle, visitor_key, row, partial(setattr, battle, "remark", body))
            wait_for(write)
        return self._battles.look(visitor_key, battle_id)

    def _remark_on_revealed(self, visitor_key: str, battle_id: str, body: Mapping[str, Any]) -> Future[None]:
        """Store a remark on a vote that stands, of a battle that is not in memory."""
        stored = self._store.battles.load(visitor_key, battle_id)
        if not stored.is_blind or not stored.outcome:
            raise NotFoundError(Phrase("No such battle."))
        return self._store.battles.judge(visitor_key, battle_id, NewJudgement(kind=Kind.REMARK, body=body))

    def _submit(self, battle: Battle, visitor_key: str, new: NewJudgement, then: Callable[[], None]) -> Future[None]:
        """Queue a judgement. Wait for it outside the battle's lock, so that the battle can be looked at meanwhile."""
        write = self._store.battles.judge(visitor_key, battle.id, new)
        battle.unwritten = write, then
        return write


def refuse_judged(battle: Battle) -> None:
    """Raise RequestError if it is too late for a vote or a turn."""
    if battle.is_void:
        raise RequestError("vote", VOID)
    if battle.is_skipped:
        raise RequestError("vote", Phrase("This battle was skipped."))
    if battle.outcome is not None:
        raise RequestError("vote", Phrase("You have judged this battle already."))
    if battle.shown is not None:
        raise RequestError("vote", SAVING)


def _cast(battle: Battle, seconds: float) -> Cast:
    """The vote as moderation sees it."""
    left, right = (battle.pair[side].name for side in SIDES)
    return Cast(
        owner=battle.owner,
        client=voter_of(battle.client),
        pair=(left, right),
        prompts=tuple(turn.prompt for turn in battle.turns),
        seconds=seconds,
    )
