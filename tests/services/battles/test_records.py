"""The stored form of a battle, and a stored battle as the page sees it: all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import Outcome
from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage
from gac_app.models.message import Message
from gac_app.services.battles.battles import Battle
from gac_app.services.battles.records import answer_record, body_of, side_facts, side_record
from gac_app.services.battles.views import UNJUDGED, VOID, live_view, stored_view
from gac_app.services.runs.views import StreamView
from gac_app.settings import Settings
from gac_app.storage import StoredBattle
from tests.services.battles.test_battle_by_hand import add_turn, battle_of, end


def stream(text: str, **end: Any) -> StreamView:
    """An answer of 12 tokens, 2 of them replayed, in 0.5 s and 3 + 4 forward passes."""
    usage = {"a": MemberUsage(3, 30, 0.25), "b": MemberUsage(4, 40, 0.5)}
    whole = FinishedEvent(FinishReason.LENGTH, text, 12, 5, 0.125, 0.5, usage, "the limit", digest="1f")
    whole = replace(whole, is_reproducible=True, num_replayed=2, **end)
    return StreamView("a", (Message("user", "Why?"),), [whole])


def test_what_is_stored_of_an_answer() -> None:
    fed = {"messages": [{"role": "user", "content": "Why?"}], "text": "So."}
    assert answer_record(stream("So.")) == {
        **fed, "finish_reason": "length", "detail": "the limit", "num_tokens": 12, "num_ensembled": 5,
        "num_replayed": 2, "num_forwards": 7, "ttft_s": 0.125, "seconds": 0.5, "digest": "1f", "is_reproducible": True,
    }  # fmt: skip
    assert answer_record(StreamView("a", (Message("user", "Why?"),))) == {**fed, "text": ""}
    settings = Settings(seed=7)
    record = side_record(Contestant("gate", None, settings))
    assert record == {"contestant": "gate", "member": None, "settings": settings.model_dump(mode="json")}


def test_the_facts_of_a_side_are_those_of_all_its_turns() -> None:
    turns = [stream("# Title\n- one **bold**"), stream("- two\n- three and more", num_tokens=22, seconds=1.0)]
    look = {"chars": 22 + 7, "headings": 1, "lists": 2, "bold": 1}
    assert side_facts(turns, 7) == {**look, "ms_per_token": 50.0, "passes_per_token": 0.4667}
    costs = {"ms_per_token": 50.0, "passes_per_token": 0.7}
    assert side_facts(turns[:1], 7) == {"chars": 7, "headings": 1, "lists": 0, "bold": 0, **costs}
    broken_off = stream("", seconds=0.0, members={})
    assert side_facts([*turns, broken_off], 0)["passes_per_token"] == 0.4667
    for unknown in (StreamView("a"), broken_off):
        assert side_facts([unknown], 0) == dict.fromkeys(look, 0)


def judged(shown: int = 99, *, is_stopped: bool = False) -> Battle:
    """A battle of two turns with a vote."""
    battle = battle_of()
    end(add_turn(battle, "ab", "cde", prompt="One?"), left=FinishReason.LENGTH, right=FinishReason.LENGTH)
    end(turn := add_turn(battle, "fghi", "jk", shown, "Two?"), left=FinishReason.LENGTH)
    if is_stopped:
        turn.is_stopping.set()
    battle.outcome, battle.shown = Outcome.LEFT, turn.num_shown()
    return battle


def stored(battle: Battle, status: str = "answered", judgements: tuple[dict[str, Any], ...] = ()) -> StoredBattle:
    return StoredBattle(
        **{side: one.name for side, one in battle.pair.items()}, battle_id=battle.id, visitor="v",
        origin="people", is_blind=True, language="en", config_hash="c", status=status, created_at="2026-01-01",
        body=body_of(battle, {}), judgements=judgements,
    )  # fmt: skip


VOTE = {"kind": "vote", "outcome": "left"}


@pytest.mark.parametrize(("shown", "is_stopped"), [(99, False), (1, True), (3, True)])
def test_a_stored_battle_is_shown_as_it_was(shown: int, is_stopped: bool) -> None:
    """Also as another program may have written it."""
    battle = judged(shown, is_stopped=is_stopped)
    assert stored_view(stored(battle, judgements=(VOTE,))) == live_view(battle)
    again = stored(battle, judgements=(VOTE,))
    again.body["turns"][1]["shown"] = {"left": 2}
    assert stored_view(again).turns[1].right.text == "jk"


@pytest.mark.parametrize(
    ("status", "judgements", "is_other", "phase", "message"),
    [
        ("answered", (), False, "interrupted", UNJUDGED),
        ("answered", (VOTE,), True, "interrupted", "Why not."),
        ("void", (), False, "void", VOID),
        ("skipped", (), False, "skipped", ""),
    ],
)
def test_a_battle_that_is_not_judged_here_names_nobody(
    status: str, judgements: tuple[dict[str, Any], ...], is_other: bool, phase: str, message: str
) -> None:
    why_not = "Why not." if is_other else ""
    view = stored_view(stored(judged(), status, judgements), why_not=why_not)
    assert (view.phase, view.message, view.contestants, view.may_vote) == (phase, message, None, False)
    assert (view.version, view.outcome) == (len(judgements) + 1, "left" if judgements[-1:] == (VOTE,) else None)
