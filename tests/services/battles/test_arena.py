"""Battles: blind until the vote counts, judged once, void where a side fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gac_app.errors import BusyError, RequestError, StorageError
from gac_app.models.message import Message
from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.views import BattleView
from gac_app.services.mirror.mirror import Mirror
from gac_app.storage import Store
from tests.databases import locked
from tests.fakes import SOON_S, WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, House, until
from tests.services.runs.test_crosstalk import owners_kept

NAMES = {"a", "b", "every step", "gate"}
SHORT = {"max_new_tokens": 12}
LONG = {"max_new_tokens": 3_000}


class Arena:
    """A service with its store, and the few things that every test does."""

    def __init__(
        self,
        house: House,
        models: Sequence[FakeModel] = (),
        *,
        store: Store | None = None,
        mirror: Callable[[Store], Mirror] | None = None,
        **fields: Any,
    ) -> None:
        self.store = store or house.store()
        self.runs = house.service(models, self.store, mirror and mirror(self.store), **{"settings": SHORT, **fields})
        self.service = ArenaService(self.runs, self.store, random.Random(1))

    def answered(self, key: str = ALICE, prompt: str = "Name three colours", **more: Any) -> BattleView:
        """A battle whose answers are to be seen whole."""
        return self.until(key, self.service.start(key, prompt, **more).id, "answered")

    def until(self, key: str, battle_id: str, *phases: str) -> BattleView:
        until(lambda: self.service.battles.look(key, battle_id).phase in phases, f"for {phases}")
        return self.service.battles.look(key, battle_id)

    def begun(self, key: str = ALICE) -> BattleView:
        """A battle that shows the first words of both."""
        view = self.service.start(key, "Go on")
        until(lambda: self.service.battles.look(key, view.id).may_vote, "for the first words")
        return self.service.battles.look(key, view.id)

    def drawn(self, num: int) -> list[frozenset[str]]:
        """The pairs of so many draws."""
        draws = [self.service._draw(None, self.service._open("")) for _ in range(num)]
        return [frozenset(one.name for one in pair.values()) for pair in draws]

    def kinds(self, battle_id: str, key: str = ALICE) -> list[str]:
        return [row["kind"] for row in self.store.battles.load(key, battle_id).judgements]

    def facts(self, battle_id: str) -> dict[str, Any]:
        """Of the last judgement."""
        facts: dict[str, Any] = self.store.battles.load(ALICE, battle_id).judgements[-1]["facts"]
        return facts


def slow(house: House) -> Arena:
    return Arena(house, [FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.004)], settings=LONG)


def test_no_answer_ends_with_one_members_context(house: House) -> None:
    models = [FakeModel("a", 1, context_length=64), FakeModel("b", 2)]
    arena = Arena(house, models, settings={"max_new_tokens": 1000})
    pair = arena.service.battles.find(ALICE, arena.service.start(ALICE, "Hi").id).pair
    assert all(one.settings.max_new_tokens <= 32 for one in pair.values())


def test_a_prompt_too_long_for_one_is_refused_for_all(house: House) -> None:
    plain = [{"name": name, "member": "a"} for name in ("one", "two")]
    told = {"name": "three", "member": "a", "settings": {"system_prompt": "x" * 300}}
    arena = Arena(house, arena={"contestants": [*plain, told]})
    ensemble = arena.runs.members.ensemble()
    room = ensemble.members["a"].model.context_length - SHORT["max_new_tokens"]
    prompt = "x" * (room - len(ensemble.members["a"].encode("")) - 100)
    ensemble.check_room([Message("user", prompt)], SHORT["max_new_tokens"], {})
    for _ in range(12):
        with pytest.raises(RequestError, match="too long"):
            arena.service.start(ALICE, prompt)


def test_what_cannot_be_judged_is_refused(house: House) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault("hang"))]
    arena = Arena(house, models)
    view = arena.service.start(ALICE, "Go on")
    assert not view.may_vote
    outcomes: list[Any] = ["", "LEFT", "ensemble", None, ["left"], 1]
    for outcome in outcomes:
        with pytest.raises(RequestError, match="expected one of left, right, tie, both-bad"):
            arena.service.judge.vote(ALICE, view.id, outcome, view.version)
    with pytest.raises(RequestError, match="nothing to judge yet"):
        arena.service.judge.vote(ALICE, view.id, "left", view.version)
    arena.service.stop(ALICE, view.id)
    (again,) = arena.service.next_turn(ALICE, view.id, "Go on now").turns
    fed = arena.service.battles.find(ALICE, view.id).last.turns
    assert (again.prompt, fed) == ("Go on now", ()), "the turn that did not begin is no part of it"
    for model in models:
        model.released.set()


def test_a_failed_side_makes_the_battle_void(house: House) -> None:
    arena = Arena(house, [FakeModel("a", 1, fault=Fault("raise", 3)), FakeModel("b", 2, fault=Fault("raise", 3))])
    view = arena.service.start(ALICE, "Name three colours")
    void = arena.until(ALICE, view.id, "void")
    assert "does not count" in void.message
    assert not void.may_vote
    for attempt in (
        lambda: arena.service.judge.vote(ALICE, view.id, "left", void.version),
        lambda: arena.service.next_turn(ALICE, view.id, "And?"),
    ):
        with pytest.raises(RequestError, match="does not count"):
            attempt()
    assert arena.store.battles.votes() == []
    assert arena.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
    assert arena.store.flush(WAIT_S)
    assert arena.store.battles.load(ALICE, view.id).status == "void"


def test_reasons_are_encrypted_and_the_last_stay(arena: Arena, house: House) -> None:
    view = arena.answered()
    with pytest.raises(RequestError, match="Vote first"):
        arena.service.judge.remark(ALICE, view.id, {"left": ["useful"]}, "xyzzy")
    arena.service.judge.vote(ALICE, view.id, "left", view.version)
    for bad in ({"left": ["nice"]}, {"left": "useful"}, {"right": [None]}):
        with pytest.raises(RequestError, match="expected a list of useful"):
            arena.service.judge.remark(ALICE, view.id, bad, "")
    with pytest.raises(RequestError, match="comment"):
        arena.service.judge.remark(ALICE, view.id, {}, "x" * 2_001)
    after = arena.service.judge.remark(ALICE, view.id, {"left": ["clear", "useful"], "right": ["incorrect"]}, "xyzzy")
    row = arena.store.battles.load(ALICE, view.id).judgements[-1]
    assert (after.phase, after.outcome, after.remark) == ("revealed", "left", row["body"])
    assert row["body"] == {"reasons": {"left": ["useful", "clear"], "right": ["incorrect"]}, "comment": "xyzzy"}
    assert b"xyzzy" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())
    for comment in map(str, range(30)):
        assert arena.service.judge.remark(ALICE, view.id, {}, comment).remark["comment"] == comment
    assert arena.kinds(view.id) == ["vote", "remark"], "one takes the other's place"


def test_without_a_database_the_vote_is_refused_in_words(house: House) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.store.flush()
    with locked(house.path):
        with pytest.raises(StorageError):
            arena.service.judge.vote(ALICE, view.id, "left", view.version)
        assert arena.service.battles.look(ALICE, view.id).outcome is None
    assert arena.service.judge.vote(ALICE, view.id, "left", view.version).outcome == "left"
    assert arena.kinds(view.id) == ["vote"]
    assert "duplicate" not in arena.facts(view.id)["flags"]


def locked_out(house: House, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """An arena whose writes wait long for the database, and whose visitors do not."""
    monkeypatch.setattr("gac_app.services.writes.STORE_TIMEOUT_S", 0.05)
    store = Store(f"sqlite:///{house.path}", retry_s=20.0)
    return Arena(house, store=store)


def test_a_vote_that_the_database_takes_later_counts_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = locked_out(house, monkeypatch)
    view = arena.answered()
    arena.store.flush()
    with locked(house.path):
        with pytest.raises(StorageError, match="a little later"):
            arena.service.judge.vote(ALICE, view.id, "left", view.version)
        waiting = arena.service.battles.look(ALICE, view.id)
        assert (waiting.is_saving, waiting.may_vote, waiting.contestants) == (True, False, None)
        with pytest.raises(RequestError, match="being saved"):
            arena.service.judge.vote(ALICE, view.id, "left", view.version)
    assert arena.until(ALICE, view.id, "revealed").outcome == "left"
    assert arena.kinds(view.id) == ["vote"]


def test_members_keep_nothing_of_a_deleted_battle(arena: Arena) -> None:
    view = arena.answered()
    until(lambda: owners_kept(arena.runs), "for what members keep of ended answers")
    arena.service.battles.delete(ALICE, view.id)
    until(lambda: not owners_kept(arena.runs), "for it to be freed")


def test_no_battle_begins_while_a_visitor_is_being_deleted(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.runs.live_runs.CHANGE_TIMEOUT_S", 0.05)
    forget = arena.service.forget

    def and_begin(key: str) -> None:
        forget(key)
        with ThreadPoolExecutor() as others, pytest.raises(BusyError, match="being deleted"):
            others.submit(arena.service.start, key, "Too late").result()

    monkeypatch.setattr(arena.service, "forget", and_begin)
    arena.runs.history.delete_all(ALICE)
    assert arena.service.battles.all() == []


def test_the_record_keeps_what_was_judged(house: House) -> None:
    arena = Arena(house, settings={**SHORT, "system_prompt": "Be brief.", "temperature": 0.7})
    view = arena.answered(prompt="Give me three tips for learning to play the guitar.")
    arena.service.judge.vote(ALICE, view.id, "tie", view.version)
    (kept,) = arena.store.battles.export()
    assert (kept.language, kept.is_blind, kept.status) == ("en", True, "answered")
    assert kept.config_hash == arena.runs.config_hash
    for side, name in (("left", kept.left), ("right", kept.right)):
        assert kept.body["sides"][side]["contestant"] == name
        assert kept.body["sides"][side]["settings"]["system_prompt"] == "Be brief."
        answer = kept.body["turns"][0][side]
        assert [message["role"] for message in answer["messages"]] == ["system", "user"]
        assert answer["digest"]
        assert answer["num_forwards"]
    assert kept.body["versions"] == {"gac": "test"}
    facts = kept.judgements[0]["facts"]
    assert set(facts) == {"turn", "early", "stopped", "seconds", "shown", "left", "right", "flags"}
    assert facts["left"]["ms_per_token"] > 0


@pytest.mark.parametrize(
    ("judge", "phase"),
    [
        (lambda service, view: service.judge.vote(ALICE, view.id, "left", view.version), "revealed"),
        (lambda service, view: service.skip(ALICE, view.id), "skipped"),
    ],
)
def test_a_battle_can_be_looked_at_while_its_answers_end(
    house: House, monkeypatch: pytest.MonkeyPatch, judge: Callable[[ArenaService, BattleView], BattleView], phase: str
) -> None:
    monkeypatch.setattr("gac_app.services.runs.runs.END_TIMEOUT_S", 10 * WAIT_S)
    arena = Arena(house, settings=LONG)
    view = arena.begun()
    run, may_end = arena.service.battles.find(ALICE, view.id).last, threading.Event()
    end = run.on_ended

    def end_late() -> None:
        may_end.wait(WAIT_S)
        end()

    run.on_ended = end_late
    with ThreadPoolExecutor() as pool:
        try:
            judging = pool.submit(judge, arena.service, view)
            until(run.is_stopping.is_set, "for the answers to be stopped")
            seen = pool.submit(arena.service.battles.look, ALICE, view.id).result(SOON_S)
            assert (seen.may_vote, seen.outcome, judging.done()) == (False, None, False)
            with pytest.raises(RequestError, match=r"being saved|skipped"):
                pool.submit(arena.service.next_turn, ALICE, view.id, "And?").result(SOON_S)
        finally:
            may_end.set()
        assert judging.result(WAIT_S).phase == phase


def test_of_two_remarks_in_flight_the_last_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = locked_out(house, monkeypatch)
    monkeypatch.setattr("gac_app.services.writes.STORE_TIMEOUT_S", WAIT_S)
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.version)
    battle = arena.service.battles.find(ALICE, view.id)
    with ThreadPoolExecutor() as pool:
        with locked(house.path):
            first = pool.submit(arena.service.judge.remark, ALICE, view.id, {"left": ["clear"]}, "one")
            until(lambda: battle.unwritten, "for the first remark to be written")
            second = pool.submit(arena.service.judge.remark, ALICE, view.id, {}, "two")
        first.result(WAIT_S), second.result(WAIT_S)
    rows = arena.store.battles.load(ALICE, view.id).judgements
    assert [row["kind"] for row in rows] == ["vote", "remark"]
    assert rows[-1]["body"] == {"reasons": {"left": [], "right": []}, "comment": "two"}


def test_a_battle_is_given_up_for_another_pair_that_may_begin(house: House) -> None:
    arena = Arena(house, arena={"max_per_hour": 2})
    first = arena.answered()
    second = arena.answered(again=first.id)
    assert [arena.service.battles.look(ALICE, one.id).phase for one in (first, second)] == ["skipped", "answered"]
    with pytest.raises(BusyError, match="many battles"):
        arena.service.start(ALICE, "", again=second.id)
    assert arena.service.judge.vote(ALICE, second.id, "left", second.version).outcome == "left"


def test_a_start_that_is_refused_does_not_count(house: House) -> None:
    arena = Arena(house, arena={"max_per_hour": 1})
    with pytest.raises(RequestError):
        arena.service.start(ALICE, "too long " * 10_000)
    assert arena.answered().may_vote
