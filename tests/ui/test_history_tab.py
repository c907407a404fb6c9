"""What the script of History asks for, and what it is answered: all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gac_app.storage import ConversationSummary, HistoryFilter
from gac_app.ui.history_tab import PAGE_SIZE, history_functions
from tests.storage.samples import summary
from tests.ui.planted import KEY
from tests.ui.spy import Spy, asking

FILTERS = {
    "search": "blue",
    "outcome": "tie",
    "mode": "gate",
    "member": "a",
    "since": "2026-01-01T12:00:00+01:00",
    "before": "",
    "is_starred": True,
    "sort": "longest",
}


def ask(history: Spy, name: str, /, **fields: Any) -> Any:
    service: Any = SimpleNamespace(history=history, config=SimpleNamespace(member_names=("a", "b")))
    return asking(history_functions(service))(name, fields.pop("key", KEY), **fields)


@pytest.mark.parametrize(
    ("name", "fields", "call"),
    [
        ("name_conversation", {"conversation": "c", "name": "n"}, (KEY, "c", "n")),
        ("star_conversation", {"conversation": "c", "is_starred": True}, (KEY, "c", True)),
        ("star_conversation", {"conversation": "c", "is_starred": False}, (KEY, "c", False)),
        ("delete_runs", {"runs": ["r", "s", "r"]}, (KEY, ["r", "s"])),
        ("delete_conversation", {"conversation": "c"}, (KEY, "c")),
        ("delete_all", {}, (KEY,)),
    ],
)
def test_changes_are_passed_on(name: str, fields: dict[str, Any], call: tuple[Any, ...]) -> None:
    history = Spy()
    assert ask(history, name, **fields) == {}
    assert history.calls == [(name, *call)]
    assert "error" in ask(history, name, **{**fields, "key": "x"})


def conversation(name: str = "") -> ConversationSummary:
    runs = (summary(), summary(run_id="r2", swap=None, branch_position=None, outcome=None, is_shared=False))
    return ConversationSummary(conversation_id="c1", name=name, is_starred=True, num_runs=5, runs=runs)


def test_conversations_are_listed_whole() -> None:
    history = Spy(conversations=[conversation("Named")])
    found = ask(history, "list_conversations", offset=30, **FILTERS)
    wanted = HistoryFilter(
        search="blue",
        outcome="tie",
        mode="gate",
        member="a",
        since=datetime(2026, 1, 1, 11, tzinfo=UTC),
        before=None,
        is_starred=True,
        sort="longest",
    )
    assert history.calls == [("conversations", KEY, wanted, PAGE_SIZE + 1, 30)]
    row = {
        "id": "r1",
        "prompt": "Why?",
        "excerpt": "Because",
        "status": "finished",
        "mode": "gate",
        "created_at": "2026-01-02T03:04:05+00:00",
        "outcome": "tie",
        "num_tokens": 20,
        "num_ensembled": 7,
        "branch_position": 4,
        "swap": ["␣x", "y⏎"],
        "is_shared": True,
    }
    plain = {**row, "id": "r2", "swap": None, "branch_position": None, "outcome": None, "is_shared": False}
    listed = {"id": "c1", "name": "Named", "is_starred": True, "num_runs": 5, "runs": [row, plain]}
    assert found == {"conversations": [listed], "has_more": False, "members": ["a", "b"]}


@pytest.mark.parametrize(("num", "has_more"), [(PAGE_SIZE, False), (PAGE_SIZE + 1, True)])
def test_a_page_says_whether_there_is_a_next(num: int, has_more: bool) -> None:
    found = ask(Spy(conversations=[conversation()] * num), "list_conversations", offset=0, **FILTERS)
    assert (len(found["conversations"]), found["has_more"]) == (PAGE_SIZE, has_more)
