"""Nothing but the text of the answers tells who gives them. Spies of the default members:
`pytest -m long -s tests/real/test_blindness.py`
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from itertools import combinations, pairwise
from typing import Any

import pytest

from gac_app.arena.outcomes import SIDES, Side
from gac_app.arena.pacing import Pace, Tempo
from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import RequestError
from gac_app.services.battles.battles import Battle
from gac_app.services.battles.records import body_of
from gac_app.services.battles.views import BattleView, live_view
from gac_app.services.exports.formats import flat
from gac_app.services.exports.judged import judged
from gac_app.services.runs.runner import Runner
from gac_app.ui.arena.lines import BattleLines, state_of, texts_of
from tests.arena.test_pacing import SPEEDS, Answer
from tests.clocks import HandClock
from tests.fakes import SOON_S, WAIT_S, FakeModel
from tests.guessing import LIKELY, learnt
from tests.services.battles.test_arena import Arena, slow
from tests.services.battles.test_battle_by_hand import add_turn, battle_of
from tests.services.house import ALICE, House, until
from tests.ui.planted import planted_step

NUM_FIRST = 40  # battles until a host knows all contestants


def seen_of(battle: Battle, clock: HandClock, sides: dict[Side, Answer], prompt: str) -> dict[str, float]:
    """All that its page gets of a battle until it is answered, four times a second, in numbers."""
    turn = add_turn(battle, "", "", prompt=prompt)
    turn.pace = Pace(battle.tempo, len(turn.prompt), clock)
    lines, sizes, nums, states = BattleLines(live_view(battle)), [0], list[int](), list[dict[str, Any]]()
    while not states or states[-1]["phase"] != "answered":
        clock.now += 0.25
        for side, answer in sides.items():
            text, stream = "x" * answer.num_there(clock.now), turn.streams[side]
            stream.events[:] = [TokenEvent(text, planted_step(0, "x"))] if text else []
            if len(text) == answer.length:
                stream.events.append(FinishedEvent(FinishReason.STOP, text, 8, 3, 0.0, 0.0, {}))
        if all(stream.finished for stream in turn.streams.values()):
            turn.over.set()
        view = live_view(battle)
        states.append(state_of(view))
        nums.append(max(map(len, texts_of(view))))
        sizes.append(len(lines.value(view)))
    begun, ended = (next((at for at, num in enumerate(nums) if num >= least), len(nums)) for least in (1, nums[-1]))
    return {
        "start": begun,
        "vote": next(at for at, state in enumerate(states) if state["may_vote"]),
        "pauses": sum(num == before for before, num in pairwise(nums[begun : ended + 1])),
        "rate": nums[-1] / (ended - begun + 1),
        "end": len(nums) - ended,
        "changes": sum(state != before for before, state in pairwise(states)),
        "frame": max(size - before for before, size in pairwise(sizes[1:])),
    }


def spied() -> tuple[dict[str, list[float]], list[str]]:
    """What a spy sees of many battles, and their pairs. Answers and prompts differ in length, and other runs slow a
    third of the battles down.
    """
    rng, tempo, every = random.Random(1), Tempo(SPEEDS), 100 * list(combinations(SPEEDS, 2))
    clues, names = list[dict[str, float]](), list[str]()
    for pair in (*rng.sample(every, NUM_FIRST), *rng.sample(every, len(every))):
        prompt, slowing = "?" * rng.choice([20, 20, 100, 4_000]), rng.choice([1.0, 1.0, 2.0])
        answers = list[Answer]()
        for name in pair:
            rate, start_s = (one * rng.lognormvariate(0, 0.1) for one in SPEEDS[name])
            start_s *= slowing * (1 + len(prompt) / 4_000)
            stall_s = start_s * rng.choice([0, 0, 1])  # while others' prompts are read
            answers.append(Answer(rate / slowing, start_s, rng.randrange(200, 500), rng.uniform(0, 10), stall_s))
        battle = battle_of(tempo=tempo)
        clues.append(seen_of(battle, HandClock(), dict(zip(SIDES, answers, strict=True)), prompt))
        names.append("-".join(pair))
        for name, one in zip(pair, answers, strict=True):
            tempo.note(name, one.length, one.length / one.rate + one.stall_s, one.start_s, len(prompt))
    return {clue: [seen[clue] for seen in clues[NUM_FIRST:]] for clue in clues[0]}, names[NUM_FIRST:]


@pytest.mark.slow
def test_what_is_shown_names_no_pair_of_hundreds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # shown as fast as people read
    clues, names = spied()
    score = learnt(clues, names)
    print(score)
    assert score.p_value > LIKELY, str(score)
    rng, numbers = random.Random(0), {name: num for num, name in enumerate(sorted(set(names)))}
    told = [numbers[name] if rng.random() < 0.12 else rng.randrange(len(numbers)) for name in names]
    assert learnt({**clues, "told": told}, names).p_value < LIKELY, "ten more of a hundred"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "leaky"),
    [
        ("gac_app.arena.pacing._PATIENCE", (90.0, 10.0)),  # too fast for the slow ones
        ("gac_app.arena.pacing._PATIENCE", (8.0, 1.0)),  # too early
        ("gac_app.services.battles.views.has_something_to_judge", lambda battle, _: battle.last.has_ended),
    ],
)
def test_a_spy_can_see(where: str, leaky: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(where, leaky)
    assert learnt(*spied()).p_value < LIKELY


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
    with pytest.raises(RequestError, match="still coming"):
        arena.service.next_turn(ALICE, seen.id, "And?")
    view = stopped(arena, seen)
    assert (view.phase, view.may_vote, lengths(view)) == ("answered", True, lengths(view)[:1] * 2)
    assert [view.turns[0].left.is_over, view.turns[0].right.is_over] == [True, True]
    arena.service.next_turn(ALICE, view.id, "And?")
    until(lambda: any(lengths(arena.service.battles.look(ALICE, view.id))), "for the second answer")
    later = stopped(arena, view)
    assert later.turns[0] == view.turns[0]
    fed = arena.service.battles.find(ALICE, view.id).last.streams
    shown = [view.turns[0].left.text, view.turns[0].right.text]
    assert [fed[side].messages[1].content for side in SIDES] == shown
    with pytest.raises(RequestError, match="changed meanwhile"):
        arena.service.judge.vote(ALICE, view.id, "tie", view.version)  # in another tab, which shows the first turn
    arena.service.judge.vote(ALICE, view.id, "tie", later.version)
    (kept,) = arena.service.battles.own(ALICE)
    facts = kept.judgements[0]["facts"]
    assert (facts["stopped"], facts["early"]) == (True, True)
    (vote,) = judged([kept])
    assert next(flat([vote]))["stopped"] is True
    assert [vote.completion(side)[0]["content"] for side in SIDES] == shown


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


def test_stop_waits_for_no_step(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a step takes would tell whose it is."""
    arena, released, end = slow(house), threading.Event(), Runner._end
    monkeypatch.setattr(Runner, "_end", lambda runner, run: released.wait(WAIT_S) and end(runner, run))
    view = arena.begun()
    arena.service.stop(ALICE, view.id)
    assert arena.service.battles.look(ALICE, view.id).phase == "answered"
    arena.service.next_turn(ALICE, view.id, "And?")
    battle = arena.service.battles.find(ALICE, view.id)
    first, second = battle.turns
    assert (first.over.is_set(), battle.status) == (False, "continuing")
    arena.service.stop(ALICE, view.id)
    released.set()
    assert first.over.wait(WAIT_S)
    assert second.over.wait(WAIT_S)
    assert battle.status == "answered"


def test_stop_while_the_end_is_written_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another server would show, and a vote's export tell, what nobody saw."""
    monkeypatch.setattr(Tempo, "rate", 40.0)
    arena, stopping = Arena(house), list[threading.Thread]()

    def written(battle: Battle, versions: Mapping[str, str]) -> dict[str, Any]:
        body = body_of(battle, versions)
        if battle.last.has_ended and not stopping:
            stopping.append(threading.Thread(target=arena.service.stop, args=(ALICE, battle.id)))
            stopping[0].start()
            stopping[0].join(0.2)
        return body

    monkeypatch.setattr("gac_app.services.battles.arena.body_of", written)
    view = arena.service.start(ALICE, "Go on")
    assert arena.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
    stopping[0].join()
    assert arena.store.flush()
    (turn,) = arena.store.battles.load(ALICE, view.id).body["turns"]
    assert "shown" in turn


def test_own_runs_wait_until_a_battle_is_shown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside it they would tell which members are busy, and for how long."""
    monkeypatch.setattr(Tempo, "rate", 5.0)
    arena = Arena(house, settings={"max_new_tokens": 80})

    def leave(key: str, battle_id: str) -> None:
        with arena.service.following(key, battle_id):
            pass

    for end in ("stop", "vote", "skip", "delete", "leave"):
        view = arena.begun()
        assert arena.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
        run = arena.runs.start(ALICE, "Meanwhile", {"max_new_tokens": 4})
        assert run.queue_place == 1
        if end == "vote":
            arena.service.judge.vote(ALICE, view.id, "tie", 0)
        else:
            ends = {"stop": arena.service.stop, "skip": arena.service.skip, "leave": leave}
            ends.get(end, arena.service.battles.delete)(ALICE, view.id)
        assert run.over.wait(SOON_S), "long before the rest would have been shown"


def test_how_long_it_is_hidden_depends_on_no_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the visitor's other runs would tell when the answers ended."""
    monkeypatch.setattr(Tempo, "rate", 5.0)
    arena = slow(house)
    arena.runs.start(ALICE, "Before", {"max_new_tokens": 20})
    view = arena.service.start(ALICE, "Go on")
    assert view.phase == "waiting"
    turn = arena.service.battles.find(ALICE, view.id).last
    until(lambda: all(stream.events for stream in turn.streams.values()), "for the first words")
    left_s = turn.pace.seconds_to(100)
    until(lambda: turn.pace.seconds_to(100) < left_s, "for less")
    arena.service.stop(ALICE, view.id)


@pytest.mark.parametrize("phase", ["answered", "skipped"])
def test_stop_and_skip_also_hold_what_had_ended(house: House, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tempo, "rate", 40.0)
    arena = Arena(house)
    battle = arena.begun().id
    assert arena.service.battles.find(ALICE, battle).last.over.wait(WAIT_S)
    (arena.service.stop if phase == "answered" else arena.service.skip)(ALICE, battle)
    seen = arena.service.battles.look(ALICE, battle)
    assert (seen.phase, seen.may_vote, "Stopped" in seen.message) == (phase, *[phase == "answered"] * 2)
    assert lengths(seen) == lengths(seen)[:1] * 2
    time.sleep(0.1)  # four characters more, if it went on
    assert arena.service.battles.look(ALICE, battle).turns == seen.turns
    assert arena.store.flush()
    (turn,) = arena.store.battles.load(ALICE, battle).body["turns"]
    assert [turn["shown"][side] for side in SIDES] == lengths(seen)
