"""Battles: blind until the vote counts, judged once, void where a side fails."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from gac_app.errors import BusyError, NotFoundError, RequestError, StorageError
from gac_app.models.message import Message
from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.battles import BattleRun
from gac_app.services.battles.views import BattleView
from gac_app.services.mirror.mirror import Mirror
from gac_app.storage import Store
from tests.databases import locked, statements
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, House, listed, until
from tests.services.runs.test_shared_reading import owners_kept

NAMES = {"a", "b", "every step", "gate"}
SHORT = {"max_new_tokens": 12}
LONG = {"max_new_tokens": 3_000}


class Arena:
    """A service with its store, and the few things that every test does."""

    def __init__(
        self,
        house: House,
        models: list[FakeModel] | None = None,
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
        view = self.service.start(key, prompt, **more)
        return self.until(key, view.id, "answered")

    def until(self, key: str, battle_id: str, *phases: str) -> BattleView:
        until(lambda: self.service.battles.look(key, battle_id).phase in phases, f"for {phases}")
        return self.service.battles.look(key, battle_id)

    def begun(self, key: str = ALICE) -> BattleView:
        """A battle that shows the first words of both."""
        view = self.service.start(key, "Go on")
        until(lambda: self.service.battles.look(key, view.id).may_vote, "for the first words")
        return self.service.battles.look(key, view.id)

    def kinds(self, battle_id: str, key: str = ALICE) -> list[str]:
        return [row["kind"] for row in self.store.battles.load(key, battle_id).judgements]

    def facts(self, battle_id: str) -> dict[str, Any]:
        """Of the last judgement."""
        facts: dict[str, Any] = self.store.battles.load(ALICE, battle_id).judgements[-1]["facts"]
        return facts


@pytest.fixture
def arena(house: House) -> Arena:
    return Arena(house)


def slow(house: House) -> Arena:
    return Arena(house, [FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.004)], settings=LONG)


def said(view: BattleView) -> str:
    return json.dumps(asdict(view))


def test_nothing_before_the_names_are_told_names_a_contestant(house: House) -> None:
    """Members are called by words that nothing else says."""
    contestants = {
        "contestants": [
            {"name": "zyxone", "member": "a"},
            {"name": "zyxtwo", "member": "b"},
            {"name": "zyxthree", "settings": {"mode": "every-step"}},
        ]
    }
    arena = Arena(house, arena=contestants)
    view = arena.service.start(ALICE, "Name three colours")
    seen = [said(view)]
    until(lambda: seen.append(said(now := arena.service.battles.look(ALICE, view.id))) or now.phase == "answered")
    assert [text for text in seen if "zyx" in text or "member:" in text or "every-step" in text] == []
    assert listed(arena.runs, ALICE) == []
    with pytest.raises(NotFoundError):
        arena.runs.history.find(ALICE, arena.service.battles.find(ALICE, view.id).last.id)
    with pytest.raises(RequestError, match="Vote first"):
        arena.service.battles.answer(ALICE, view.id, 0, "left")


def test_no_answer_ends_with_one_members_context(house: House) -> None:
    models = [FakeModel("a", 1, context_length=64), FakeModel("b", 2)]
    arena = Arena(house, models, settings={"max_new_tokens": 1000})
    view = arena.service.start(ALICE, "Hi")
    pair = arena.service.battles.find(ALICE, view.id).pair
    assert all(one.settings.max_new_tokens <= 32 for one in pair.values())


def test_a_prompt_too_long_for_one_is_refused_for_all(house: House) -> None:
    plain = [{"name": name, "member": "a"} for name in ("one", "two")]
    told = {"name": "three", "member": "a", "settings": {"system_prompt": "x" * 300}}
    arena = Arena(house, arena={"contestants": [*plain, told]})
    ensemble = arena.runs.members.ensemble()
    room = ensemble.members["a"].model.context_length - SHORT["max_new_tokens"]
    prompt = "x" * (room - len(ensemble.members["a"].encode("")) - 100)
    ensemble.check_room([Message("user", prompt)], SHORT["max_new_tokens"])
    for _ in range(12):
        with pytest.raises(RequestError, match="too long"):
            arena.service.start(ALICE, prompt)


def test_a_bad_outcome_is_refused(arena: Arena) -> None:
    view = arena.answered()
    outcomes: list[Any] = ["", "LEFT", "ensemble", None, ["left"], 1]
    for outcome in outcomes:
        with pytest.raises(RequestError, match="expected one of left, right, tie, both-bad"):
            arena.service.judge.vote(ALICE, view.id, outcome, view.ballot)


def test_nothing_can_be_judged_before_both_have_begun(house: House) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault("hang"))]
    arena = Arena(house, models)
    view = arena.service.start(ALICE, "Go on")
    assert not view.may_vote
    with pytest.raises(RequestError, match="nothing to judge yet"):
        arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    for model in models:
        model.released.set()


def test_a_failed_side_makes_the_battle_void(house: House) -> None:
    arena = Arena(house, [FakeModel("a", 1, fault=Fault("raise", 3)), FakeModel("b", 2, fault=Fault("raise", 3))])
    view = arena.service.start(ALICE, "Name three colours")
    void = arena.until(ALICE, view.id, "void")
    assert "does not count" in void.message
    assert not void.may_vote
    for attempt in (
        lambda: arena.service.judge.vote(ALICE, view.id, "left", void.ballot),
        lambda: arena.service.next_turn(ALICE, view.id, "And?"),
    ):
        with pytest.raises(RequestError, match="does not count"):
            attempt()
    assert arena.store.battles.votes() == []
    assert arena.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
    assert arena.store.flush(WAIT_S)
    assert arena.store.battles.load(ALICE, view.id).status == "void"


def test_the_next_turn_waits_for_the_answers(house: House) -> None:
    arena = slow(house)
    view = arena.begun()
    with pytest.raises(RequestError, match="still coming"):
        arena.service.next_turn(ALICE, view.id, "And?")
    arena.service.stop(ALICE, view.id)
    arena.service.next_turn(ALICE, view.id, "And?")
    arena.service.stop(ALICE, view.id)


def test_reasons_are_encrypted_and_the_last_count(arena: Arena, house: House) -> None:
    view = arena.answered()
    with pytest.raises(RequestError, match="Vote first"):
        arena.service.judge.remark(ALICE, view.id, {"left": ["useful"]}, "xyzzy")
    arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    for bad in ({"left": ["nice"]}, {"left": "useful"}, {"right": [None]}):
        with pytest.raises(RequestError, match="expected a list of useful"):
            arena.service.judge.remark(ALICE, view.id, bad, "")
    with pytest.raises(RequestError, match="comment"):
        arena.service.judge.remark(ALICE, view.id, {}, "x" * 2_001)
    after = arena.service.judge.remark(ALICE, view.id, {"left": ["clear", "useful"], "right": ["incorrect"]}, "xyzzy")
    assert (after.phase, after.outcome) == ("revealed", "left")
    row = arena.store.battles.load(ALICE, view.id).judgements[-1]
    assert row["body"] == {"reasons": {"left": ["useful", "clear"], "right": ["incorrect"]}, "comment": "xyzzy"}
    assert b"xyzzy" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())


def test_the_inspector_has_every_step_once_the_names_are_told(arena: Arena) -> None:
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    stream, _ = arena.service.battles.answer(ALICE, view.id, 0, "right")
    assert stream.steps[3].position == 3
    for turn, side in ((1, "left"), (0, "middle")):
        with pytest.raises(RequestError):
            arena.service.battles.answer(ALICE, view.id, turn, side)  # type: ignore[arg-type]


def test_without_a_database_the_vote_is_refused_in_words(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.store.flush()
    with locked(house.path):
        with pytest.raises(StorageError):
            arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
        assert arena.service.battles.look(ALICE, view.id).outcome is None
    assert arena.service.judge.vote(ALICE, view.id, "left", view.ballot).outcome == "left"
    assert arena.kinds(view.id) == ["vote"]
    assert "duplicate" not in arena.facts(view.id)["flags"]


def locked_out(house: House, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """An arena whose writes wait long for the database, and whose visitors do not."""
    monkeypatch.setattr("gac_app.services.settling.STORE_TIMEOUT_S", 0.05)
    store = Store(f"sqlite:///{house.path}", retry_s=20.0)
    return Arena(house, store=store)


def test_a_vote_that_the_database_takes_later_counts_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = locked_out(house, monkeypatch)
    view = arena.answered()
    arena.store.flush()
    with locked(house.path):
        with pytest.raises(StorageError, match="a little later"):
            arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
        waiting = arena.service.battles.look(ALICE, view.id)
        assert (waiting.is_saving, waiting.may_vote, waiting.contestants) == (True, False, None)
        with pytest.raises(RequestError, match="being saved"):
            arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
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
        with pytest.raises(BusyError, match="being deleted"):
            arena.service.start(key, "Too late")

    monkeypatch.setattr(arena.service, "forget", and_begin)
    arena.runs.history.delete_all(ALICE)
    assert arena.service.battles.all() == []


def test_a_public_host_asks_for_consent_and_keeps_it(house: House) -> None:
    arena = Arena(house, server={"host": "0.0.0.0"})  # noqa: S104
    with pytest.raises(RequestError, match="Agree to that first"):
        arena.service.start(ALICE, "Name three colours")
    view = arena.answered(consents=True)
    assert arena.store.flush(WAIT_S)
    assert arena.store.battles.load(ALICE, view.id).body["consent"] is True


def test_the_record_keeps_what_was_judged(house: House) -> None:
    arena = Arena(house, settings={**SHORT, "system_prompt": "Be brief.", "temperature": 0.7})
    view = arena.answered(prompt="Give me three tips for learning to play the guitar.")
    arena.service.judge.vote(ALICE, view.id, "tie", view.ballot)
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
    seeds = {kept.body["sides"][side]["settings"]["seed"] for side in ("left", "right")}
    assert len(seeds) == 2
    assert seeds != {0}
    assert kept.body["versions"] == {"gac": "test"}
    facts = kept.judgements[0]["facts"]
    assert set(facts) == {"turn", "early", "stopped", "seconds", "shown", "left", "right", "flags"}
    assert facts["left"]["ms_per_token"] > 0


def test_looking_at_what_is_being_shown_asks_the_database_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena(house)
    view = arena.answered()
    arena.store.flush()
    battle = arena.service.battles.find(ALICE, view.id)
    monkeypatch.setattr(BattleRun, "is_answered", lambda *_: False)
    battle.clock, battle.held_at = lambda: 5.0, 0.0
    with statements(arena.store.engine) as told:
        for _ in range(20):
            arena.service.battles.look(ALICE, view.id)
    assert len([one for one in told if "battle" in one]) == 1
