"""What the history asks of the database, the queue and the prefix caches, call by call."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, cast

import pytest

from gac_app.errors import NotFoundError, RequestError, StorageError
from gac_app.services.runs.history import END_TIMEOUT_S, MAX_NAME_CHARS, History
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.live_runs import LiveRuns
from gac_app.services.visitors import owner_of
from gac_app.settings import Settings
from gac_app.storage import StoredRun, Turn
from tests.fakes import config_of
from tests.services.house import ALICE
from tests.services.runs.test_views import stored
from tests.ui.spy import Spy

OWNER = owner_of(ALICE)


def done(error: Exception | None = None) -> Future[None]:
    future: Future[None] = Future()
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future


class Desk:
    """A history over a database that notes its calls.

    Args:
        rows: stored runs by id.
        answers: of the database's methods.
    """

    def __init__(self, *rows: StoredRun, **answers: Any) -> None:
        self.order: list[tuple[Any, ...]] = []
        names = ("name_conversation", "star_conversation", "delete_run", "delete_visitor", "vote", "undo_vote")
        self.store = Spy(**{**{name: done() for name in names}, "run_ids_of": [], "deleted_ids": set(), **answers})
        self.rows = {row.run_id: row for row in rows}
        self.runner, self.members, self.mirror, self.companion = Spy(), Spy(), Spy(), Spy()
        for spy in (self.store, self.runner, self.members, self.mirror, self.companion):
            spy.calls = self.order
        self.counted = Spy()
        runner: Any = self.runner
        runner.metrics = self.counted
        self.runs = LiveRuns()
        store: Any = self.store
        store.load_run = self._load
        store.conversation_runs = lambda *_: self._conversation()
        self.history = History(
            config_of(["a", "b"]),
            store,
            self.runs,
            cast("Any", self.runner),
            cast("Any", self.members),
            cast("Any", self.mirror),
            cast("Any", [self.companion]),
        )

    def _load(self, _: str, run_id: str) -> StoredRun:
        if run_id not in self.rows:
            raise NotFoundError("there is no such run")
        return self.rows[run_id]

    def _conversation(self) -> list[StoredRun]:
        if not self.rows:
            raise NotFoundError("there is no such conversation")
        return list(self.rows.values())

    def live(self, conversation_id: str = "c1", turns: tuple[Turn, ...] = (), owner: str = OWNER) -> LiveRun:
        plan = RunPlan(prompt="Why?", settings=Settings(), conversation_id=conversation_id, turns=turns)
        run = LiveRun(plan, owner=owner, keys=["ensemble", "member:a"], member_names=("a", "b"))
        self.runs.add(run)
        return run


def test_a_name_is_trimmed_and_has_a_limit() -> None:
    desk = Desk()
    name = "n" * MAX_NAME_CHARS
    desk.history.name_conversation(ALICE, "c1", name)
    desk.history.name_conversation(ALICE, "c1", " a\ud800 ")
    desk.history.star_conversation(ALICE, "c1", True)
    assert desk.order == [
        ("name_conversation", ALICE, "c1", name),
        ("name_conversation", ALICE, "c1", "a\ufffd"),
        ("star_conversation", ALICE, "c1", True),
    ]
    with pytest.raises(RequestError, match="name: has 121 characters; at most 120 are taken"):
        desk.history.name_conversation(ALICE, "c1", name + "n")


def test_a_deleted_run_goes_with_all_that_has_read_it() -> None:
    desk = Desk()
    doomed, other = desk.live(), desk.live("c2")
    reader = desk.live(turns=(Turn(doomed.id, "One?", {}), Turn("r0", "Zero?", {})))
    strangers = desk.live(turns=(Turn(doomed.id, "One?", {}),), owner=owner_of("b" * 64))
    desk.history.delete_run(ALICE, doomed.id)
    assert desk.order == [
        ("stop_all", [doomed, reader], END_TIMEOUT_S),
        ("forget", OWNER, "c1"),
        ("delete_run", ALICE, doomed.id),
        ("settle_deletions",),
    ]
    assert desk.runs.all() == [other, reader, strangers]
    assert ([turn.run_id for turn in reader.turns], reader.num_deleted_turns) == (["r0"], 1)
    assert len(strangers.turns) == 1


@pytest.mark.parametrize("is_live", [True, False])
def test_a_run_that_was_never_stored_is_deleted_in_memory(is_live: bool) -> None:
    desk = Desk(delete_run=done(NotFoundError("there is no such run")), conversation_of="c7")
    if is_live:
        desk.history.delete_run(ALICE, desk.live().id)
        assert desk.runs.all() == []
    else:
        with pytest.raises(NotFoundError):
            desk.history.delete_run(ALICE, "r1")
    assert (("settle_deletions",) in desk.order) is is_live
    assert (("conversation_of", ALICE, "r1") in desk.order) is not is_live
    assert ("forget", OWNER, "c1" if is_live else "c7") in desk.order


def test_a_conversation_is_deleted_run_by_run() -> None:
    desk = Desk(run_ids_of=["r2", "r1"], conversation_of="c1")
    desk.history.delete_conversation(ALICE, "c1")
    assert [call for call in desk.order if call[0] in ("run_ids_of", "delete_run")] == [
        ("run_ids_of", ALICE, "c1"),
        ("delete_run", ALICE, "r2"),
        ("delete_run", ALICE, "r1"),
    ]
    missing = Desk(delete_run=done(NotFoundError("gone")), conversation_of="c1")
    missing.history.delete_runs(ALICE, ["r1", "r2"])
    assert [call[2] for call in missing.order if call[0] == "delete_run"] == ["r1", "r2"]


def test_all_of_a_visitor_goes_at_once() -> None:
    desk = Desk()
    one, two, strangers = desk.live(), desk.live("c2"), desk.live(owner=owner_of("b" * 64))
    desk.history.delete_all(ALICE)
    assert desk.order == [
        ("forget", ALICE),
        ("stop_all", [one, two], END_TIMEOUT_S),
        ("forget", OWNER),
        ("delete_visitor", ALICE),
        ("settle_deletions",),
    ]
    assert desk.runs.all() == [strangers]


def test_a_vote_counts_once_it_is_stored() -> None:
    desk = Desk()
    run = desk.live()
    desk.history.vote(ALICE, run.id, "member:a")
    assert (run.outcome, desk.order) == ("member:a", [("vote", ALICE, run.id, "member:a")])
    assert desk.counted.calls == [("voted", "compare")]
    desk.history.undo_vote(ALICE, run.id)
    assert run.outcome is None
    with pytest.raises(RequestError, match="outcome: expected one of ensemble, member:a, tie, all-bad"):
        desk.history.vote(ALICE, run.id, "member:b")
    failing = Desk(vote=done(StorageError("planned")))
    with pytest.raises(StorageError):
        failing.history.vote(ALICE, (run := failing.live()).id, "tie")
    assert (run.outcome, failing.counted.calls) == (None, [])


def test_a_conversation_has_stored_and_live_runs_in_order() -> None:
    desk = Desk(stored(run_id="r1"), stored(run_id="r2", settings={"threshold": "none"}))
    live, _ = desk.live(), desk.live("c2")
    desk.rows[live.id] = stored(run_id=live.id)
    unstored = desk.live()
    first, second, third, fourth = desk.history.conversation(ALICE, "c1")
    assert (first.id, second.id, third, fourth) == ("r1", "r2", live, unstored)
    assert first.settings == Settings(system_prompt="Be brief.")
    assert second.settings == desk.history._config.settings, "settings that cannot be read are today's"
    alone = Desk()
    with pytest.raises(NotFoundError):
        alone.history.conversation(ALICE, "c1")
    run = alone.live()
    assert alone.history.conversation(ALICE, "c1") == [run]


@pytest.mark.parametrize(
    ("before", "is_told"),
    [
        ({"branch_position": None, "num_deleted_turns": 0}, True),
        ({"branch_position": 3, "num_deleted_turns": 0}, False),
        ({"branch_position": None, "num_deleted_turns": 1}, False),
        ({"branch_position": None, "num_deleted_turns": 0, "member_names": ("a",)}, False),
    ],
)
def test_the_run_that_is_repeated(before: dict[str, Any], is_told: bool) -> None:
    desk = Desk(stored(run_id="r1", **before))
    run = desk.live()
    assert desk.history.run_before(ALICE, run) is None, "it repeats none"
    run.repeats_run_id = "r1"
    found = desk.history.run_before(ALICE, run)
    assert (found is not None and found.id == "r1") is is_told
    run.repeats_run_id = "deleted"
    assert desk.history.run_before(ALICE, run) is None


@pytest.mark.parametrize(
    ("changes", "settings", "is_told"),
    [
        ({}, {"seed": 4}, True),
        ({}, {}, False),
        ({}, {"max_new_tokens": 7}, False),  # a limit alone is no other setting
        ({"prompt": "Other?"}, {"seed": 4}, False),
        ({"member_names": ("a",)}, {"seed": 4}, False),
        ({"branch_position": 3}, {"seed": 4}, False),
    ],
)
def test_the_run_that_stands_beside(changes: dict[str, Any], settings: dict[str, Any], is_told: bool) -> None:
    desk = Desk()
    parent, run = desk.live(), desk.live()
    run.parent_run_id, run.settings = parent.id, Settings(**settings)
    for name, value in changes.items():
        setattr(run, name, value)
    assert desk.history.run_beside(ALICE, run) is (parent if is_told else None)
    del parent.streams["ensemble"]
    assert desk.history.run_beside(ALICE, run) is None
    assert desk.history.run_beside(ALICE, parent) is None


def test_steps_are_those_of_a_stream_of_the_run() -> None:
    desk = Desk(stored(run_id="r1"))
    steps, settings = desk.history.steps(ALICE, "r1", "member:a", 2)
    assert (len(steps), settings) == (3, Settings(system_prompt="Be brief."))
    with pytest.raises(RequestError, match="stream: expected one of member:a"):
        desk.history.steps(ALICE, "r1", "ensemble", 0)
    with pytest.raises(RequestError, match="position: expected a whole number from 0 to 2"):
        desk.history.steps(ALICE, "r1", "member:a", 3)
