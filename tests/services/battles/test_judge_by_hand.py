"""A judge that cannot go on, battles of other servers, and the draw's own copy of the votes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gac_app.services.battles.battles import Battle
from gac_app.services.battles.judging import Judge
from gac_app.services.battles.standings import Standings
from gac_app.services.battles.visitor_battles import VisitorBattles
from gac_app.services.visitors import owner_of
from tests.arena.samples import row, votes_of
from tests.services.battles.test_battle_by_hand import add_turn, battle_of
from tests.services.house import ALICE


def kept(battle: Battle) -> VisitorBattles:
    live = VisitorBattles(cast("Any", None), cast("Any", None))
    live.add(battle)
    return live


def test_a_vote_that_breaks_off_can_be_given_again() -> None:
    battle = battle_of()
    battle.owner = owner_of(ALICE)
    add_turn(battle, "abc", "de", 2)
    seen: list[Any] = []

    def halt(_: object) -> None:
        seen.append(battle.shown)
        raise RuntimeError("planned")

    judge = Judge(cast("Any", SimpleNamespace(halt=halt)), cast("Any", None), kept(battle), cast("Any", None))
    with pytest.raises(RuntimeError, match="planned"):
        judge.vote(ALICE, battle.id, "left", 0)
    assert seen == [{"left": 2, "right": 2}], "meanwhile nothing else is accepted"
    assert (battle.shown, battle.outcome, battle.num_rows) == (None, None, 0)


def test_the_draw_goes_by_the_newest_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    standings = Standings(cast("Any", None), ["a", "b", "c"], min_votes=1)
    books = [votes_of([row("a", "b", "left", 1), row("b", "a", "left", 2, flags=["fast"])], "abc")]
    monkeypatch.setattr(standings, "_current", lambda: (None, books[-1]))
    first = standings.for_drawing()
    none = frozenset(("a", "c")), frozenset(("b", "c"))
    assert first[0] == {frozenset(("a", "b")): 2, **dict.fromkeys(none, 0)}, "flagged votes count, unrated"
    assert first[1].keys() == {"a", "b"}, "c cannot be compared yet"
    assert first[1]["a"] > first[1]["b"]
    assert standings.for_drawing()[0] is first[0], "the same votes are counted once"
    books.append(votes_of([row(*pair, "tie", at) for at, pair in enumerate(("ab", "bc", "ca"))], "abc"))
    num_votes, ratings = standings.for_drawing()
    assert num_votes == {frozenset(pair): 1 for pair in ("ab", "bc", "ca")}
    assert ratings == pytest.approx(dict.fromkeys("abc", 1000.0))
