"""Nothing but the text of the answers tells who gives them: spies guess no better than a coin.

The same with the default members, and for longer: `pytest -m long -s tests/real/test_blindness.py`
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from gac_app.arena.outcomes import SIDES
from gac_app.arena.pacing import Tempo
from gac_app.bootstrap import kept_by
from gac_app.errors import RequestError
from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.views import BattleView
from gac_app.services.exports.formats import flat
from gac_app.services.exports.judged import judged
from tests.fakes import WAIT_S, FakeModel, ensemble_of
from tests.services.battles.test_arena import Arena, slow
from tests.services.house import ALICE, House, until
from tests.services.spies import OF_PAIRS, OF_SIDES, Spies

NUM_BATTLES, NUM_MORE = 10, 20  # more where the first are won too often, so that nine of ten are noticed
SUSPICIOUS, LIKELY = 0.2, 0.001  # a spy that a coin matches less often knows something
CUT_SHORT = ("stop", "skip")
TOLD = {
    "tempo": 0.4,
    "beside": 0.6,
}  # what a spy of these learns on a quiet machine, see docs/arena.md; no more than that
RATE = Tempo.__dict__["rate"]  # as people are shown battles; other tests here do not wait for it
TWO = {"contestants": [{"name": "a", "member": "a"}, {"name": "b", "member": "b"}]}


def spies(house: House, num_tokens: int, slow_s: float, **arena: Any) -> Spies:
    """Over a fast and a slow member, whose drawn answers differ each time; greedy ones never do."""
    models = [FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=slow_s)]
    for model in models:
        model._sharpness = 0.5
    runs = house.service(models, store := house.store(), settings={"max_new_tokens": num_tokens}, arena=arena)
    runs.members.use(ensemble := ensemble_of(models, runs.config), lambda: kept_by(ensemble))
    service = ArenaService(runs, store, random.Random(7))
    return Spies(service, runs, [one.name for one in service.contestants], ["Name three colours", "Go on"])


@pytest.mark.slow
@pytest.mark.parametrize("channel", [*OF_SIDES, *OF_PAIRS])
def test_a_spy_guesses_no_better_than_a_coin(house: House, channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tempo, "rate", RATE)
    monkeypatch.setattr("gac_app.arena.pacing.MIN_RATE", 400.0)
    how = (2_000, 0.1) if channel in CUT_SHORT else (16, 0.02)  # slow also beside what else a machine does
    found = spies(house, *how, **({} if channel in OF_PAIRS else TWO))
    score = found.score(channel, NUM_BATTLES)
    score = replace(score, chance=TOLD.get(channel, score.chance))
    if score.p_value < SUSPICIOUS:
        num_right = score.num_right + found.score(channel, NUM_MORE).num_right
        score = replace(score, num_right=num_right, num_battles=NUM_BATTLES + NUM_MORE)
    print(score)
    assert score.p_value > LIKELY, str(score)


def lengths(view: BattleView) -> list[int]:
    return [len(side.text) for side in (view.turns[-1].left, view.turns[-1].right)]


def stopped(arena: Arena, view: BattleView) -> BattleView:
    """The battle, stopped after its first words, once nothing goes on behind them."""
    arena.service.stop(ALICE, view.id)
    assert arena.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
    return arena.service.battles.look(ALICE, view.id)


def test_what_stop_hid_is_neither_shown_nor_fed_later(house: House) -> None:
    arena = slow(house)
    seen = arena.begun()
    view = stopped(arena, seen)
    assert (view.phase, view.may_vote, lengths(view)) == ("answered", True, lengths(view)[:1] * 2)
    assert [view.turns[0].left.is_over, view.turns[0].right.is_over] == [True, True]

    arena.service.next_turn(ALICE, view.id, "And?")
    until(lambda: any(lengths(arena.service.battles.look(ALICE, view.id))), "for the second answer")
    later = stopped(arena, view)
    assert later.turns[0] == view.turns[0]
    fed = arena.service.battles.find(ALICE, view.id).last.streams
    assert [fed[side].messages[1].content for side in SIDES] == [view.turns[0].left.text, view.turns[0].right.text]

    arena.service.judge.vote(ALICE, view.id, "tie", later.ballot)
    (kept,) = arena.service.battles.own(ALICE)
    facts = kept.judgements[0]["facts"]
    assert (facts["stopped"], facts["early"]) == (True, True)
    (vote,) = judged([kept])
    assert next(flat([vote]))["stopped"] is True
    assert [vote.completion(side)[0]["content"] for side in SIDES] == [
        view.turns[0].left.text,
        view.turns[0].right.text,
    ]


def test_whether_a_prompt_fits_depends_on_no_contestant(house: House) -> None:
    """One context is larger than the other: neither refusal nor limit tells whose answers it is."""
    models = [FakeModel("zyxone", 1, context_length=200), FakeModel("zyxtwo", 2)]
    arena = Arena(house, models, settings={"max_new_tokens": 60})
    for _ in range(12):
        with pytest.raises(RequestError, match="too long") as refused:
            arena.service.start(ALICE, "colours " * 40)
        assert "zyx" not in str(refused.value)
    view = arena.answered(prompt="Go on")
    assert [view.turns[0].left.is_cut, view.turns[0].right.is_cut] == [True, True]
    ends = arena.service.battles.find(ALICE, view.id).last.streams
    assert all(45 <= end.num_tokens <= 60 for side in SIDES if (end := ends[side].finished))


def test_contestants_sample_with_seeds_that_nobody_knows(house: House) -> None:
    arena = Arena(house)
    one, other = (arena.service.battles.find(ALICE, arena.answered().id).last for _ in range(2))
    settings = [run.settings_of(side) for run in (one, other) for side in SIDES]
    assert {each.temperature for each in settings} == {0.7}
    assert len({each.seed for each in settings} | {0}) == 5
    greedy = Arena(house, arena={"temperature": 0})
    run = greedy.service.battles.find(ALICE, greedy.answered().id).last
    assert {run.settings_of(side).temperature for side in SIDES} == {0.0}


def test_stop_also_holds_answers_that_had_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tempo, "rate", 40.0)
    arena = Arena(house)
    battle = arena.service.start(ALICE, "Go on").id
    until(lambda: arena.service.battles.look(ALICE, battle).may_vote, "for the first words")
    assert arena.service.battles.find(ALICE, battle).last.over.wait(WAIT_S)
    until(lambda: any(lengths(arena.service.battles.look(ALICE, battle))), "for the first words")
    arena.service.stop(ALICE, battle)
    seen = arena.service.battles.look(ALICE, battle)
    assert (seen.phase, seen.may_vote, "Stopped" in seen.message) == ("answered", True, True)
    time.sleep(0.1)  # four characters more, if it went on
    assert arena.service.battles.look(ALICE, battle).turns == seen.turns
    assert arena.store.flush()
    (turn,) = arena.store.battles.load(ALICE, battle).body["turns"]
    assert [turn["shown"][side] for side in SIDES] == lengths(seen)
