"""Conversations found, filtered, sorted, named, starred; what is renamed or deleted leaves no key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gac_app.errors import NotFoundError
from gac_app.models.message import Message
from gac_app.storage import SORTS, HistoryFilter, NewRun, Store, Turn, fed_messages
from gac_app.storage.runs import history
from tests.databases import sql, statements
from tests.storage.samples import ALICE, BOB, answer, new_run
from tests.storage.test_deletion import occurrences


def keep(store: Store, prompt: str, text: str = "Blue", outcome: str = "", **changes: Any) -> NewRun:
    run = new_run(prompt, **changes)
    store.start_run(run)
    store.save_answer(run.run_id, answer("no", "ensemble", num_tokens=len(text), num_ensembled=len(prompt)))
    store.save_answer(run.run_id, answer(text, "Smol")).result()
    if outcome:
        store.vote(run.visitor_key, run.run_id, outcome).result()
    return run


def prompts(store: Store, **wanted: Any) -> list[list[str]]:
    found = store.list_conversations(ALICE, HistoryFilter(**wanted))
    return [[run.prompt for run in conversation.runs] for conversation in found]


def test_runs_are_grouped_by_conversation_newest_first(store: Store) -> None:
    first = keep(store, "one")
    keep(store, "other")
    keep(store, "two", conversation_id=first.conversation_id)
    keep(store, "Bob's", visitor_key=BOB)
    assert prompts(store) == [["one", "two"], ["other"]]
    assert prompts(store, sort="oldest") == [["one", "two"], ["other"]]
    (found,) = store.list_conversations(ALICE, HistoryFilter(search="TWO"))
    assert ([run.prompt for run in found.runs], found.num_runs) == (["two"], 2)
    assert [len(store.list_conversations(ALICE, HistoryFilter(), 1, offset)) for offset in (0, 1, 2)] == [1, 1, 0]


def test_a_search_finds_words_of_prompts_answers_and_names(store: Store) -> None:
    named = keep(store, "one", "Rome is ETERNAL")
    keep(store, "two", "100% sure")
    store.name_conversation(ALICE, named.conversation_id, "Straße nach Süden, cafe\u0301").result()
    for word in ("eternal", "SÜDEN", "SU\u0308DEN", "CAFÉ", "strasse", "STRAßE"):
        assert prompts(store, search=word) == [["one"]], word
    assert [prompts(store, search=word) for word in ("100%", "tw", "nowhere")] == [[["two"]], [["two"]], []]


def test_filters_by_vote_mode_member_date_and_star(store: Store) -> None:
    keep(store, "tied", outcome="tie")
    keep(store, "all", settings={"mode": "every-step"}, member_names=("Other",), outcome="member:Other")
    starred = keep(store, "plain")
    store.star_conversation(ALICE, starred.conversation_id, True).result()
    now = datetime.now(UTC)
    assert prompts(store, outcome="tie") == [["tied"]]
    assert prompts(store, outcome="voted", sort="oldest") == [["tied"], ["all"]]
    assert prompts(store, outcome="none") == [["plain"]]
    assert prompts(store, mode="every-step") == prompts(store, member="Other") == [["all"]]
    assert prompts(store, is_starred=True) == [["plain"]]
    assert prompts(store, since=now) == prompts(store, before=now - timedelta(hours=1)) == []
    assert len(prompts(store, since=now - timedelta(hours=1), before=now)) == 3
    began = store.load_run(ALICE, starred.run_id).created_at
    assert prompts(store, since=began) == [["plain"]], "days that follow each other share no run"
    assert sorted(prompts(store, before=began)) == [["all"], ["tied"]]


def test_a_run_continues_no_run_of_another_conversation(store: Store) -> None:
    """An import may name any run."""
    secret = keep(store, "Bob's", visitor_key=BOB)
    mine = keep(store, "mine")
    later = keep(store, "and?", conversation_id=mine.conversation_id, turn_ids=(secret.run_id, mine.run_id))
    found = store.load_run(ALICE, later.run_id)
    assert ([turn.prompt for turn in found.turns], found.turn_ids) == (["mine"], (secret.run_id, mine.run_id))


def test_sorting_by_length_and_by_share_ensembled(store: Store) -> None:
    keep(store, "a", "x" * 50)
    keep(store, "bbb", "x" * 10)
    keep(store, "cc", "x" * 90)
    first = keep(store, "dddd", "x" * 4)
    keep(store, "d", "x" * 96, conversation_id=first.conversation_id)
    assert prompts(store, sort="longest") == [["dddd", "d"], ["cc"], ["a"], ["bbb"]]
    assert prompts(store, sort="most-ensembled") == [["bbb"], ["dddd", "d"], ["cc"], ["a"]], "of all their tokens"


def test_a_page_of_the_history_decrypts_its_own_runs_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        keep(store, f"run {number}")
    monkeypatch.setattr(history, "decrypt_json", opened := Mock(wraps=history.decrypt_json))
    for sort in SORTS:
        with statements(store.engine) as told:
            assert len(store.list_conversations(ALICE, HistoryFilter(sort=sort), 2, 3)) == 2
        assert (opened.call_count, len(told)) == (2 * 2, 4), "prompts and beginnings of answers"
        opened.reset_mock()


@pytest.mark.parametrize("forget", ["rename", "unname", "delete the run", "delete the visitor"])
def test_a_name_that_is_gone_leaves_no_key(store: Store, path: Path, forget: str) -> None:
    run = keep(store, "one")
    store.name_conversation(ALICE, run.conversation_id, "xyzzy").result()
    [(key,)] = sql(path, "SELECT run_key.key FROM conversation JOIN run_key ON run_key.id = conversation.key_id")
    assert occurrences(path, b"xyzzy") == 0
    assert occurrences(path, key) > 0
    {
        "rename": lambda: store.name_conversation(ALICE, run.conversation_id, "plugh"),
        "unname": lambda: store.name_conversation(ALICE, run.conversation_id, ""),
        "delete the run": lambda: store.delete_run(ALICE, run.run_id),
        "delete the visitor": lambda: store.delete_visitor(ALICE),
    }[forget]().result()
    assert occurrences(path, key) == 0
    names = [item.name for item in store.list_conversations(ALICE, HistoryFilter())]
    assert names == {"rename": ["plugh"], "unname": [""]}.get(forget, [])


def test_anothers_conversation_is_not_named_or_starred(store: Store) -> None:
    run = keep(store, "one")
    for attempt in (
        lambda: store.name_conversation(BOB, run.conversation_id, "mine").result(),
        lambda: store.star_conversation(BOB, run.conversation_id, True).result(),
        lambda: store.run_ids_of(BOB, run.conversation_id),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    (found,) = store.list_conversations(ALICE, HistoryFilter())
    assert (found.name, found.is_starred) == ("", False)


def test_an_excerpt_that_is_cut_says_so(store: Store) -> None:
    for prompt, text in (("short", "Blue."), ("long", "blue " * 100)):
        run = new_run(prompt)
        store.start_run(run)
        store.save_answer(run.run_id, answer(text, "ensemble")).result()
    found = {one.runs[0].prompt: one.runs[0].excerpt for one in store.list_conversations(ALICE, HistoryFilter())}
    assert found == {"short": "Blue.", "long": "blue " * 31 + "blue…"}


TURNS = (
    Turn("r0", "One?", {"ensemble": "all", "member:a": "mine"}),
    Turn("r1", "Two?", {"ensemble": "all again"}),
    Turn("r2", "Lost?", {}),  # interrupted
    Turn("r3", "Three?", {"member:a": ""}),
)


@pytest.mark.parametrize(
    ("stream", "answers"),
    [
        ("ensemble", [("One?", "all"), ("Two?", "all again")]),
        ("member:a", [("One?", "mine"), ("Two?", "all again"), ("Three?", "")]),
        ("member:b", [("One?", "all"), ("Two?", "all again")]),
    ],
)
def test_a_stream_goes_on_from_its_own_answers(stream: str, answers: list[tuple[str, str]]) -> None:
    before = [m for prompt, answer in answers for m in (Message("user", prompt), Message("assistant", answer))]
    assert fed_messages(stream, "Now?", "", TURNS) == (*before, Message("user", "Now?"))
    assert fed_messages(stream, "Now?", "Be brief.", ()) == (Message("system", "Be brief."), Message("user", "Now?"))
