"""The stored form of a battle, and a stored battle as the page sees it: all of it."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import Side
from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage
from gac_app.models.message import Message
from gac_app.services.battles.records import answer_record, side_facts, side_record
from gac_app.services.battles.views import (
    UNJUDGED,
    VOID,
    BattleView,
    ContestantView,
    SideView,
    TurnView,
    stored_view,
)
from gac_app.services.runs.views import StreamView
from gac_app.settings import Settings
from gac_app.storage import StoredBattle


def stream(text: str, **end: Any) -> StreamView:
    """An answer of 12 tokens, 2 of them replayed, in 0.5 s and 3 + 4 forward passes."""
    usage = {"a": MemberUsage(3, 30, 0.25), "b": MemberUsage(4, 40, 0.5)}
    fields: dict[str, Any] = {
        "reason": FinishReason.LENGTH,
        "text": text,
        "num_tokens": 12,
        "num_ensembled": 5,
        "ttft_s": 0.125,
        "seconds": 0.5,
        "members": usage,
        "detail": "the limit",
        "digest": "1f",
        "is_reproducible": True,
        "num_replayed": 2,
    }
    return StreamView("a", (Message("user", "Why?"),), [FinishedEvent(**{**fields, **end})])


def test_what_is_stored_of_an_answer() -> None:
    fed = {"messages": [{"role": "user", "content": "Why?"}], "text": "So."}
    assert answer_record(stream("So.")) == {
        **fed,
        "finish_reason": "length",
        "detail": "the limit",
        "num_tokens": 12,
        "num_ensembled": 5,
        "num_replayed": 2,
        "num_forwards": 7,
        "ttft_s": 0.125,
        "seconds": 0.5,
        "digest": "1f",
        "is_reproducible": True,
    }
    assert answer_record(StreamView("a", (Message("user", "Why?"),))) == {**fed, "text": ""}
    settings = Settings(seed=7)
    assert side_record(Contestant("gate", None, settings)) == {
        "contestant": "gate",
        "member": None,
        "settings": settings.model_dump(mode="json"),
    }


def test_the_facts_of_a_side_are_those_of_all_its_turns() -> None:
    turns = [stream("# Title\n- one **bold**"), stream("- two\n- three and more", num_tokens=22, seconds=1.0)]
    look = {"chars": 22 + 7, "headings": 1, "lists": 2, "bold": 1}
    assert side_facts(turns, 7) == {**look, "ms_per_token": 50.0, "passes_per_token": 0.4667}
    assert side_facts(turns[:1], 7) == {"chars": 7, "headings": 1, "lists": 0, "bold": 0, **cost(50.0, 0.7)}
    assert side_facts([StreamView("a")], 0) == {**dict.fromkeys(look, 0), **cost(0.0, 0.0)}


def cost(ms_per_token: float, passes_per_token: float) -> dict[str, float]:
    return {"ms_per_token": ms_per_token, "passes_per_token": passes_per_token}


def stored(status: str = "answered", judgements: tuple[dict[str, Any], ...] = (), **shown: int) -> StoredBattle:
    """A battle of two turns, the second shown in part if `shown` says how far."""
    first = {"prompt": "One?", "left": answer_record(stream("ab")), "right": answer_record(stream("cde"))}
    last = {
        "prompt": "Two?",
        "left": answer_record(stream("fghi", reason=FinishReason.STOP, num_tokens=20)),
        "right": {"text": "jk"},
        **({"shown": shown} if shown else {}),
    }
    who = {"left": Contestant("gate", None, Settings()), "right": Contestant("a", "a", Settings())}
    sides = {side: side_record(one) for side, one in who.items()}
    return StoredBattle(
        battle_id="b1",
        visitor="v",
        run_id=None,
        origin="people",
        is_blind=True,
        left="gate",
        right="a",
        language="en",
        config_hash="c",
        status=status,
        created_at="2026-01-01",
        body={"sides": sides, "turns": [first, last]},
        judgements=judgements,
    )


VOTE = {"kind": "vote", "outcome": "left"}
UNDO = {"kind": "undo", "outcome": ""}


def over(text: str, *, is_cut: bool = False) -> SideView:
    return SideView(text=text, is_over=True, is_cut=is_cut)


def test_a_judged_battle_is_shown_with_its_names() -> None:
    settings = Settings().model_dump(mode="json")
    assert stored_view(stored(judgements=(VOTE, UNDO, VOTE))) == BattleView(
        id="b1",
        phase="revealed",
        turns=(
            TurnView(prompt="One?", left=over("ab", is_cut=True), right=over("cde", is_cut=True)),
            TurnView(prompt="Two?", left=over("fghi"), right=over("jk")),
        ),
        ballot=3,
        outcome="left",
        contestants={
            "left": ContestantView(
                name="gate",
                member=None,
                settings=settings,
                seconds=1.0,
                num_tokens=32,
                num_ensembled=10,
                num_forwards=14,
            ),
            "right": ContestantView(
                name="a",
                member="a",
                settings=settings,
                seconds=0.5,
                num_tokens=12,
                num_ensembled=5,
                num_forwards=7,
            ),
        },
    )


@pytest.mark.parametrize(
    ("status", "judgements", "is_other", "phase", "message"),
    [
        ("answered", (), False, "interrupted", UNJUDGED),
        ("answered", (VOTE, UNDO), False, "interrupted", UNJUDGED),
        ("answered", (VOTE,), True, "interrupted", "Why not."),
        ("void", (), False, "void", VOID),
        ("skipped", (), False, "skipped", ""),
    ],
)
def test_a_battle_that_is_not_judged_here_names_nobody(
    status: str, judgements: tuple[dict[str, Any], ...], is_other: bool, phase: str, message: str
) -> None:
    why_not = "Why not." if is_other else ""
    view = stored_view(stored(status, judgements), why_not=why_not)
    assert (view.phase, view.message, view.contestants, view.may_vote) == (phase, message, None, False)
    assert (view.ballot, view.outcome) == (len(judgements), "left" if judgements[-1:] == (VOTE,) else None)


@pytest.mark.parametrize(("side", "shown"), [("left", "fg"), ("right", "j")])
def test_a_stopped_turn_shows_as_much_as_was_shown(side: Side, shown: str) -> None:
    (first, last) = stored_view(stored(left=2, right=1)).turns
    assert getattr(last, side) == over(shown)
    assert first.left == over("ab", is_cut=True)
    assert stored_view(stored(left=2)).turns[1].right == over("jk"), "as another program may have written it"
