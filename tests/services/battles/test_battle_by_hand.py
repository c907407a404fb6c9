"""A battle without models: what is shown, told and stored of it at each of its moments."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import Outcome
from gac_app.arena.pacing import Pace, SideProgress, Tempo
from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage, TokenEvent
from gac_app.errors import NotFoundError
from gac_app.services.battles.battles import Battle, BattleRun
from gac_app.services.battles.judging import Judge
from gac_app.services.battles.records import body_of, facts_of
from gac_app.services.battles.views import NOT_BEGUN, STOPPED, ContestantView, SideView, TurnView, live_view
from gac_app.services.battles.visitor_battles import VisitorBattles
from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of
from gac_app.settings import Settings
from gac_app.storage import RunStatus, Store
from tests.clocks import HandClock
from tests.services.house import ALICE, BOB
from tests.ui.planted import planted_step
from tests.ui.spy import Spy

LEFT = Contestant("gate", None, Settings(system_prompt="Be left."))
RIGHT = Contestant("a", "a", Settings(system_prompt="Be right.", seed=5))


class StillPace(Pace):
    """Shows so many characters of each side, and no more as time goes by."""

    def __init__(self, num: int) -> None:
        super().__init__(Tempo(()))
        self.num, self.seen = num, list[list[SideProgress]]()
        self._begun_at = 0.0

    @property
    def num_shown(self) -> int:
        return self.num

    @property
    def seconds(self) -> float:
        return 1.23456

    def advance(self, sides: Any) -> int:
        self.seen.append(list(sides))
        return self.num


def battle_of(clock: HandClock | None = None, tempo: Tempo | None = None) -> Battle:
    return Battle(
        owner="ann", pair={"left": LEFT, "right": RIGHT}, language="en", has_consent=True, client="office",
        tempo=tempo or Tempo(()), clock=clock or HandClock(),
    )  # fmt: skip


def add_turn(battle: Battle, left: str, right: str, shown: int = 99, prompt: str = "Why?") -> BattleRun:
    """A turn whose sides have written these texts so far."""
    turn = battle.begin_turn(prompt)
    battle.turns.append(turn)
    turn.status, turn.pace = RunStatus.RUNNING, StillPace(shown)
    for side, text in (("left", left), ("right", right)):
        turn.streams[side].events += [TokenEvent(char, planted_step(0, char)) for char in text]
    return turn


def end(turn: BattleRun, **reasons: FinishReason) -> None:
    """End both sides, and the turn with them."""
    for side, stream in turn.streams.items():
        reason = reasons.get(side, FinishReason.STOP)
        usage = {"a": MemberUsage(4, 9, 0.5)}
        stream.events.append(FinishedEvent(reason, stream.text, 8, 3, 0.5, 2.5, usage))
    turn.over.set()


def texts(view: Any) -> tuple[str, str]:
    return view.turns[-1].left.text, view.turns[-1].right.text


def test_each_side_is_asked_as_its_contestant() -> None:
    battle = battle_of()
    turn = add_turn(battle, "So.", "Thus.", prompt="One?")
    assert (turn.owner, turn.client, turn.conversation_id) == ("ann", "office", battle.id)
    assert (turn.alone_in("left"), turn.alone_in("right")) == (None, "a")
    assert (turn.settings_of("left"), turn.settings_of("right")) == (LEFT.settings, RIGHT.settings)
    end(turn)
    later = add_turn(battle, "", "", prompt="Two?")
    assert later.conversation_id == battle.id
    asked = {side: [(m.role, m.content) for m in later.streams[side].messages] for side in ("left", "right")}
    assert asked == {
        "left": [("system", "Be left."), ("user", "One?"), ("assistant", "So."), ("user", "Two?")],
        "right": [("system", "Be right."), ("user", "One?"), ("assistant", "Thus."), ("user", "Two?")],
    }


def test_a_waiting_battle_shows_its_place() -> None:
    battle = battle_of()
    turn = add_turn(battle, "", "")
    turn.status, turn.queue_place = "waiting", 3
    view = live_view(battle)
    assert (view.phase, view.queue_place, view.may_vote) == ("waiting", 3, False)
    assert cast("StillPace", turn.pace).seen == [], "time does not run yet"


@pytest.mark.parametrize(
    ("shown", "phase", "is_over"), [(2, "answering", (False, True)), (3, "answered", (True, True))]
)
def test_an_ended_battle_is_shown_to_its_end(shown: int, phase: str, is_over: tuple[bool, bool]) -> None:
    battle = battle_of()
    end(add_turn(battle, "abc", "de", shown), left=FinishReason.LENGTH)
    view = live_view(battle)
    [turn] = view.turns
    assert (view.phase, view.may_vote) == (phase, True)
    assert (turn.left.is_over, turn.right.is_over) == is_over
    assert (turn.left.is_cut, turn.right.is_cut) == (shown == 3, False)


def test_a_battle_is_hidden_until_its_longer_side_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tempo, "rate", 10.0)
    turn = add_turn(battle_of(), "a" * 600, "de")
    end(turn)
    turn.pace = Pace(Tempo(()), clock=HandClock())
    assert turn.hidden_s() == pytest.approx(60)


def test_an_empty_end_is_shown_no_earlier_than_words() -> None:
    tempo = Tempo(())
    tempo.note("late", 100, 1.0, 5.0, 0)
    battle = battle_of()
    turn = add_turn(battle, "", "")
    turn.pace = Pace(tempo, clock=HandClock())
    end(turn)
    view = live_view(battle)
    assert (view.phase, view.may_vote, view.turns[0].left.is_over) == ("answering", False, False)


def test_an_answer_that_ended_without_text_can_be_judged() -> None:
    for reason, may_vote in ((FinishReason.STOP, True), (FinishReason.LENGTH, True), (FinishReason.ABORT, False)):
        battle = battle_of()
        end(add_turn(battle, "", "de"), left=reason)
        assert live_view(battle).may_vote is may_vote, reason


@pytest.mark.parametrize(("shown", "message"), [(2, STOPPED), (0, NOT_BEGUN)])
@pytest.mark.parametrize("by", ["stop", "abort"])
def test_a_stopped_battle_shows_no_more(shown: int, message: str, by: str) -> None:
    battle = battle_of()
    turn = add_turn(battle, "abc", "de", shown)
    if by == "stop":
        turn.is_stopping.set()  # the end of a step is not waited for
    else:
        end(turn, right=FinishReason.ABORT)
    view = live_view(battle)
    assert (view.phase, view.message, texts(view)) == ("answered", message, ("abc"[:shown], "de"[:shown]))
    assert cast("StillPace", turn.pace).seen == [], "no more is shown as time goes by"
    assert turn.as_turn().answers == {"left": "abc"[:shown], "right": "de"[:shown]}
    assert view.turns[0].left.is_over
    assert not view.turns[0].left.is_cut


def test_a_vote_under_way_takes_no_other() -> None:
    battle = battle_of()
    turn = add_turn(battle, "abc", "def", 99)
    battle.shown = {"left": 1, "right": 2}
    view = live_view(battle)
    assert (view.phase, view.may_vote, texts(view)) == ("answering", False, ("a", "de"))
    turn.over.set()
    view = live_view(battle)
    assert (view.phase, view.may_vote, view.turns[0].left.is_over) == ("answered", False, True)


def test_names_are_told_with_the_vote() -> None:
    clock = HandClock()
    clock.now = 100.0
    battle = battle_of(clock)
    end(add_turn(battle, "abc", "de", prompt="One?"), left=FinishReason.LENGTH)
    end(add_turn(battle, "fgh", "ij", prompt="Two?"), left=FinishReason.LENGTH)  # where it is not shown
    assert not battle.is_final
    battle.outcome, battle.shown = Outcome.TIE, {"left": 2, "right": 1}
    view = live_view(battle)
    assert (view.phase, view.outcome, view.version, battle.is_final) == ("revealed", "tie", 2, True)
    assert view.turns == (
        TurnView(
            prompt="One?", left=SideView(text="abc", is_over=True, is_cut=True), right=SideView(text="de", is_over=True)
        ),
        TurnView(prompt="Two?", left=SideView(text="fg", is_over=True), right=SideView(text="i", is_over=True)),
    )
    settings = RIGHT.settings.model_dump(mode="json")
    assert view.contestants is not None
    assert view.contestants["right"] == ContestantView(
        name="a", member="a", settings=settings, seconds=5.0, num_tokens=16, num_ensembled=6, num_forwards=8
    )
    assert (view.contestants["left"].name, view.contestants["left"].member) == ("gate", None)


@pytest.mark.parametrize("outcome", [None, Outcome.LEFT])
@pytest.mark.parametrize("fails", [False, True])
def test_a_judgement_counts_once_it_is_stored(outcome: Outcome | None, fails: bool) -> None:
    battle, done, write = battle_of(), list[str](), Future[None]()
    add_turn(battle, "abc", "de")
    battle.unwritten, battle.outcome = (write, lambda: done.append("then")), outcome
    battle.shown = {"left": 1, "right": 1}
    assert (battle.note_row(), done) == (False, [])
    assert (live_view(battle).is_saving, live_view(battle).may_vote) == (True, False)
    if fails:
        write.set_exception(OSError("planned"))
    else:
        write.set_result(None)
    assert battle.note_row()
    assert done == ([] if fails else ["then"])
    assert battle.unwritten is None
    assert battle.shown == ({"left": 1, "right": 1} if outcome else None)
    assert battle.note_row()


def test_the_facts_of_a_vote_are_of_all_turns() -> None:
    battle = battle_of()
    end(first := add_turn(battle, "abc", "de", 2))
    first.is_stopping.set()
    end(add_turn(battle, "fgh", "ij"))
    whole, early = (facts_of(battle, {"left": num, "right": 2}) for num in (3, 2))
    told = [(one["turn"], one["stopped"], one["early"], one["seconds"]) for one in (whole, early)]
    assert told == [(2, True, False, 1.235), (2, True, True, 1.235)]
    assert [turn.get("shown") for turn in body_of(battle, {})["turns"]] == [{"left": 2, "right": 2}, None]


def test_the_tempo_is_told_how_fast_each_contestant_was() -> None:
    turn, tempo = add_turn(battle_of(), "abc", "de"), Spy()
    turn.note_tempo(cast("Tempo", tempo))
    assert tempo.calls == []
    end(turn)
    turn.note_tempo(cast("Tempo", tempo))
    assert tempo.calls == [("note", "gate", 3, 2.0, 0.5, 4), ("note", "a", 2, 2.0, 0.5, 4)]


def test_what_is_taken_out_is_the_owner_s() -> None:
    halted: list[object] = []
    live = VisitorBattles(cast("RunService", SimpleNamespace(halt=halted.append)), cast("Store", None))
    for _ in range(3):
        battle = battle_of()
        add_turn(battle, "a", "b")
        assert live.add(battle) is battle
    [one, *others] = live.all()
    live.drop("bob")
    live.drop("ann", one.id)
    assert (live.all(), halted) == (others, [one.last])
    live.drop("ann")
    assert (live.all(), halted) == ([], [one.last, *(other.last for other in others)])


def test_old_battles_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settled ones first, then the oldest that is over of who has most; never one that goes on, though too many do."""
    monkeypatch.setattr("gac_app.services.battles.visitor_battles.KEPT_BATTLES", 3)
    live = VisitorBattles(cast("RunService", None), cast("Store", None))
    ann = owner_of(ALICE)

    def add(owner: str, client: str, *, is_over: bool, is_skipped: bool = False) -> tuple[Battle, list[Battle]]:
        battle, before = battle_of(), live.all()
        battle.owner, battle.client, battle.is_skipped = owner, client, is_skipped
        turn = add_turn(battle, "a", "b")
        if is_over:
            end(turn)
        live.add(battle)
        return battle, [one for one in before if one not in live.all()]

    first, gone = add(ann, "office", is_over=True)
    assert gone == []
    skipped, gone = add("bob", "home", is_over=True, is_skipped=True)
    assert gone == []
    second, gone = add(ann, "office", is_over=True)
    assert gone == []
    third, gone = add(ann, "office", is_over=False)
    assert gone == [skipped]
    fourth, gone = add("cyd", "home", is_over=True)
    assert gone == [first], "of the address with most, the oldest that is over"
    goes = [add("cyd", "home", is_over=False)[1] for _ in range(3)]
    assert goes == [[second], [fourth], []]
    assert live.find(ALICE, third.id) is third
    with pytest.raises(NotFoundError, match="No such battle"):
        live.find(BOB, third.id)


def test_a_vote_that_breaks_off_can_be_given_again() -> None:
    battle = battle_of()
    battle.owner = owner_of(ALICE)
    add_turn(battle, "abc", "de", 2)
    seen: list[Any] = []

    def halt(_: object) -> None:
        seen.append(battle.shown)
        raise RuntimeError("planned")

    live = VisitorBattles(cast("Any", None), cast("Any", None))
    live.add(battle)
    judge = Judge(cast("Any", SimpleNamespace(halt=halt)), cast("Any", None), live, cast("Any", None))
    with pytest.raises(RuntimeError, match="planned"):
        judge.vote(ALICE, battle.id, "left", 0)
    assert seen == [{"left": 2, "right": 2}], "meanwhile nothing else is accepted"
    assert (battle.shown, battle.outcome) == (None, None)
