"""What the operator sees of votes, and does about them and to the running arena."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gac_app.arena.controls import Controls, controls_of
from gac_app.arena.outcomes import Origin
from gac_app.errors import BusyError, NotFoundError, RequestError
from gac_app.services.exports.formats import Format
from gac_app.services.mirror.exports import Exports
from tests.databases import statements
from tests.services.battles.test_arena import NAMES, Arena
from tests.services.house import ALICE, BOB, House
from tests.services.mirror.test_exports import imported
from tests.ui.planted_votes import plant_vote

ANY_TIME = {"since": "2020-01-01T00:00", "before": "2099-01-01T00:00"}


def counted(arena: Arena) -> int:
    return arena.service.standings.rated("blind").num_votes


def crowd(arena: Arena) -> None:
    """Three fresh keys from one address, one vote flagged; one flagged vote and a plain one from elsewhere."""
    for number, flags in enumerate(([], ["burst", "agreement"], [])):
        plant_vote(arena.store, "a", "b", "left", f"{number:064}", client="school", flags=flags)
    plant_vote(arena.store, "a", "b", "left", ALICE, client="home", flags=["fast"])
    plant_vote(arena.store, "b", "gate", "left", BOB, client="elsewhere")


def test_the_overview_counts_votes_and_flags(arena: Arena) -> None:
    crowd(arena)
    seen = arena.service.operator.overview()
    assert json.loads(json.dumps(seen))
    assert (seen["num_votes"], seen["num_flagged"], seen["num_today"]) == (5, 2, 5)
    assert seen["pairs"] == [
        {"names": ("a", "b"), "num": 4, "num_flagged": 2},
        {"names": ("b", "gate"), "num": 1, "num_flagged": 0},
    ]
    assert set(seen["contestants"]) == NAMES


def test_the_votes_of_a_time_and_a_contestant_are_dropped(house: House) -> None:
    arena = Arena(house, arena={"min_votes": 1})
    crowd(arena)
    operator, now = arena.service.operator, datetime.now(UTC)
    begin, end = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()

    def judge_span(since: object, before: object, contestant: str, verdict: str = "dropped") -> int:
        span = {"since": since, "before": before, "contestant": contestant}
        return operator.judge({"verdict": verdict, **span})

    for wrong in ((begin, begin, "a"), (begin, end, "nobody"), (end, begin, "")):
        with pytest.raises(NotFoundError):
            judge_span(*wrong)
    for bad in ((begin, None, "a"), ("9999999-01-01", end, "a"), (begin, end, "a", "deleted")):
        with pytest.raises(RequestError):
            judge_span(*bad)
    assert counted(arena) == 3
    assert (judge_span(begin, end, "gate"), counted(arena)) == (1, 2)
    assert (judge_span(begin, end, "", "restored"), counted(arena)) == (5, 5)


def test_a_verdict_is_in_exports_and_comes_back_with_them(arena: Arena) -> None:
    crowd(arena)
    arena.service.operator.judge(ANY_TIME | {"contestant": "", "verdict": "dropped"})
    arena.service.operator.judge(ANY_TIME | {"contestant": "gate", "verdict": "restored"})
    lines = list(Exports(arena.store).lines())
    assert not any(client in line for line in lines for client in ("school", "elsewhere", '"client"'))
    assert imported(arena.store, lines).num_new == 0
    rows = json.loads(b"".join(Exports(arena.store).content(Format.LMSYS, Origin.PEOPLE)))
    assert sorted(row["flags"] for row in rows) == ["", "burst agreement dropped", "dropped", "dropped", "fast dropped"]


def test_a_verdict_stands_in_no_visitor_s_way(arena: Arena) -> None:
    """It is a row among the battle's, but a page that knows nothing of it can go on."""
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.version)
    arena.service.operator.judge(ANY_TIME | {"contestant": "", "verdict": "dropped"})
    arena.service.judge.remark(ALICE, view.id, {"left": ["clear"]}, "why")
    assert arena.kinds(view.id) == ["vote", "verdict", "remark"]
    (kept,) = arena.store.battles.export()
    arena.service.battles.drop(arena.service.battles.find(ALICE, view.id).owner)
    assert arena.service.battles.look(ALICE, view.id).outcome == "left"
    assert kept.judgements[1]["outcome"] == "dropped"


def test_pause_and_budget_hold_at_once_and_after_a_restart(house: House) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.service.operator.set({"is_paused": True})
    for service in (arena, Arena(house)):
        with pytest.raises(BusyError, match="paused"):
            service.service.start(ALICE, "Hi")
    arena.service.judge.vote(ALICE, view.id, "left", view.version)  # what has begun goes on
    arena.service.operator.set({"battles_per_day": 2})
    arena.answered(BOB)
    assert arena.store.flush()
    for service in (arena, Arena(house)):
        with pytest.raises(BusyError, match="for today"):
            service.service.start(ALICE, "Hi")
    arena.service.operator.set({})
    arena.answered()


def test_an_address_leaves_others_as_many_of_a_days_battles(arena: Arena) -> None:
    arena.service.operator.set({"battles_per_day": 4})
    started = Counter[str]()
    for client, key in (("x", ALICE), ("x", BOB), ("x", "c" * 64), ("y", "d" * 64), ("y", "d" * 64), ("z", "e" * 64)):
        with suppress(BusyError):
            arena.service.battles.delete(key, arena.answered(key, client=client).id)
            started[client] += 1
    assert started == {"x": 2, "y": 1, "z": 1}, "the third of x was one too many"
    assert arena.service.operator.overview()["num_today"] == 4


def test_weights_and_rest_take_effect_without_a_restart(arena: Arena) -> None:
    arena.service.operator.set({"weights": {"a": 0, "b": 10.0}})
    pairs = arena.drawn(100)
    assert not any("a" in pair for pair in pairs)
    assert sum("b" in pair for pair in pairs) > 80
    arena.service.operator.set({})
    assert any("a" in pair for pair in arena.drawn(100))


@pytest.mark.parametrize(("wrong", "field"), [
    ({"is_paused": "perhaps"}, "is_paused"), ({"battles_per_day": -1}, "battles_per_day"),
    ({"battles_per_day": 10**400}, "battles_per_day"), ({"weights": {"a": float("nan")}}, "weights.a"),
    ({"weights": {"a": -1}}, "weights.a"), ({"weights": {"nobody": 1}}, "weights"),
    ({"weights": {"a": 0, "b": 0, "gate": 0}}, "weights"), ({"more": 1}, "more"), ([], "controls"), ("{", "controls"),
])  # fmt: skip
def test_controls_that_make_no_sense_are_refused(arena: Arena, wrong: Any, field: str) -> None:
    with pytest.raises(RequestError) as refusal:
        arena.service.operator.set(wrong)
    assert refusal.value.field == field
    assert controls_of(arena.store.battles.controls()) == Controls()


def test_contestants_that_left_do_not_close_the_arena() -> None:
    controls = Controls(weights={"a": 0, "b": 0})
    assert controls.drawn(["a", "b", "c", "d"]) == ["c", "d"]
    assert controls.drawn(["a", "b", "c"]) == ["a", "b", "c"]


def test_the_overview_reads_votes_again_after_a_change(arena: Arena) -> None:
    plant_vote(arena.store, *sorted(NAMES)[:2], "left", BOB, client="address")
    operator = arena.service.operator
    first = operator.overview()
    with statements(arena.store.engine) as told:
        assert operator.overview() == first
    assert not [one for one in told if "judgement.facts" in one]
    operator.judge(ANY_TIME | {"contestant": "", "verdict": "dropped"})
    assert (first["num_flagged"], operator.overview()["num_flagged"]) == (0, 1)
