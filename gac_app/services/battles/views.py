"""A battle as the page sees it. No view names a contestant before the names may be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gac_app.arena.outcomes import SIDES, Side
from gac_app.decoding.trace import FinishReason
from gac_app.errors import Phrase
from gac_app.services.battles.battles import Battle, BattleRun
from gac_app.services.battles.records import answer_record, side_record
from gac_app.services.runs.views import WAITING
from gac_app.storage import Kind, StoredBattle

Phase = Literal["waiting", "answering", "answered", "revealed", "void", "skipped", "interrupted"]

VOID = Phrase("One of the two could not answer, so this battle does not count.")
UNJUDGED = Phrase("This battle ended before a vote.")
STOPPED = Phrase("Stopped: both are shown up to the same place. Which one is better?")
SAVING = Phrase("The vote on this battle is being saved. Wait a moment.")
NOT_BEGUN = Phrase("This battle did not begin: it was stopped, or others came first. Try again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideView:
    """The shown part of one answer. `is_cut`: it ended at the limit of tokens."""

    text: str = ""
    is_over: bool = False
    is_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    prompt: str
    left: SideView
    right: SideView


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestantView:
    """Who a side was, and the actual costs of its answers over all turns."""

    name: str
    member: str | None  # the member that answered alone; None = the ensemble
    settings: Mapping[str, Any]
    seconds: float
    num_tokens: int
    num_ensembled: int
    num_forwards: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BattleView:
    """A battle at one moment.

    Attributes:
        phase: "waiting" in the queue, "answering", "answered", "revealed" (there is a vote), "void" (a side
            failed), "skipped", "interrupted" (it can no longer be judged).
        turns: oldest first; there is at least one.
        queue_place: runs before this one, 0 = none.
        version: must be passed with a vote; changes with each judgement and turn.
        may_vote: whether a vote is accepted now.
        is_saving: the database has not stored the last judgement yet.
        message: for the visitor; mostly empty.
        contestants: by side, after the vote; None before.
        remark: the visitor's last, with its reasons and comment; None = there is none.
    """

    id: str
    phase: Phase
    turns: tuple[TurnView, ...]
    queue_place: int = 0
    version: int = 0
    may_vote: bool = False
    outcome: str | None = None
    is_saving: bool = False
    message: str = ""
    contestants: Mapping[Side, ContestantView] | None = None
    remark: Mapping[str, Any] | None = None


def live_view(battle: Battle) -> BattleView:
    """The view of a battle in memory. The caller must hold the battle's lock."""
    is_saved = battle.note_row()
    shown = battle.num_shown()
    last = _turn_view(battle.last, shown, has_ended=battle.shown is not None or battle.last.is_stopped)
    phase = _phase(battle, shown)
    return BattleView(
        id=battle.id,
        phase=phase,
        turns=(*(_turn_view(turn, turn.num_shown_at_end(), has_ended=True) for turn in battle.turns[:-1]), last),
        queue_place=battle.last.queue_place,
        version=battle.version,
        may_vote=is_saved
        and battle.shown is None
        and phase in ("answering", "answered")
        and has_something_to_judge(battle, shown),
        outcome=battle.outcome,
        is_saving=not is_saved,
        message=_message(battle, phase),
        contestants={side: _told(battle, side) for side in SIDES} if battle.names_revealed else None,
        remark=battle.remark,
    )


def has_something_to_judge(battle: Battle, shown: Mapping[Side, int]) -> bool:
    """Whether each side shows text, or that it has ended normally without text."""

    def is_empty(side: Side) -> bool:
        end = battle.last.streams[side].finished if battle.last.pace.has_begun else None
        return end is not None and not end.text and end.reason in (FinishReason.STOP, FinishReason.LENGTH)

    return all(shown[side] > 0 or is_empty(side) for side in SIDES)


def _phase(battle: Battle, shown: Mapping[Side, int]) -> Phase:
    if battle.is_void:
        return "void"
    if battle.is_skipped:
        return "skipped"
    if battle.outcome is not None:
        return "revealed"
    if battle.last.status == WAITING:
        return "waiting"
    is_stopped_by_vote = battle.shown is not None and battle.last.over.is_set()
    return "answered" if is_stopped_by_vote or battle.last.is_answered(shown) else "answering"


def _message(battle: Battle, phase: Phase) -> str:
    if phase == "void":
        return VOID
    # A session's message may name members, and hidden text may tell which one is faster.
    if phase != "answered" or not battle.last.is_stopped:
        return ""
    return STOPPED if any(battle.num_shown().values()) else NOT_BEGUN


def _turn_view(turn: BattleRun, shown: Mapping[Side, int], *, has_ended: bool) -> TurnView:
    def view(side: Side) -> SideView:
        text, end, num = turn.streams[side].text, turn.streams[side].finished, shown[side]
        is_whole = num >= len(text)
        is_over = has_ended or (end is not None and is_whole and turn.pace.has_begun)
        return _side_view(text[:num], end.reason if end else None, is_over=is_over, is_whole=is_whole)

    return TurnView(prompt=turn.prompt, left=view("left"), right=view("right"))


def _side_view(text: str, reason: str | None, *, is_over: bool, is_whole: bool) -> SideView:
    return SideView(text=text, is_over=is_over, is_cut=is_over and is_whole and reason == FinishReason.LENGTH)


def _told(battle: Battle, side: Side) -> ContestantView:
    return _contestant(side_record(battle.pair[side]), [answer_record(turn.streams[side]) for turn in battle.turns])


def stored_view(battle: StoredBattle, *, why_not: str = "") -> BattleView:
    """A battle that is not in memory, so it cannot be judged here.

    Args:
        why_not: though it is open; then no names are told.
    """
    body, told = battle.body, battle.last(Kind.REMARK)
    phase: Phase = "revealed" if battle.outcome and not why_not else "interrupted"
    if battle.status in ("void", "skipped"):
        phase = "void" if battle.status == "void" else "skipped"
    return BattleView(
        id=battle.battle_id,
        phase=phase,
        turns=tuple(map(_stored_turn, body["turns"])),
        version=len(body["turns"]) - (not battle.outcome),
        outcome=battle.outcome or None,
        message={"void": VOID, "interrupted": why_not or UNJUDGED}.get(phase, ""),
        contestants={side: _contestant(body["sides"][side], [turn[side] for turn in body["turns"]]) for side in SIDES}
        if phase == "revealed"
        else None,
        remark=told["body"] if told else None,
    )


def _stored_turn(turn: Mapping[str, Any]) -> TurnView:
    def view(side: Side) -> SideView:
        whole: str = turn[side]["text"]
        text = whole[: turn.get("shown", {}).get(side)]  # only a stopped turn has it
        return _side_view(text, turn[side].get("finish_reason"), is_over=True, is_whole=text == whole)

    return TurnView(prompt=turn["prompt"], left=view("left"), right=view("right"))


def _contestant(who: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> ContestantView:
    """From the stored form of a side and of its answers."""
    sums = {name: sum(one.get(name, 0) for one in answers) for name in ("num_tokens", "num_ensembled", "num_forwards")}
    return ContestantView(
        name=who["contestant"],
        member=who["member"],
        settings=who["settings"],
        seconds=sum(one.get("seconds", 0.0) for one in answers),
        **sums,
    )
