"""What the scripts of History and Batch ask for, and what they are answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from gac_app.config import ServerConfig
from gac_app.errors import unpacked
from gac_app.services.runs.batches import Batches
from gac_app.storage import ConversationSummary, HistoryFilter
from gac_app.ui.batch_tab import batch_functions, start_batch
from gac_app.ui.history_tab import PAGE_SIZE, history_functions
from tests.services.conftest import house as house
from tests.services.house import House, until
from tests.storage.samples import summary
from tests.ui.planted import KEY, OTHER_KEY
from tests.ui.spy import Spy, asking

FILTERS: dict[str, Any] = {"search": "blue", "outcome": "tie", "mode": "gate", "member": "a", "sort": "longest"}
FILTERS |= {"since": "2026-01-01T12:00:00+01:00", "before": "", "is_starred": True}


def ask(history: Spy, name: str, /, **fields: Any) -> Any:
    config = SimpleNamespace(member_names=("a", "b"), server=ServerConfig(forgets=True), database_url="")
    service: Any = SimpleNamespace(history=history, config=config)
    return asking(history_functions(service))(name, fields.pop("key", KEY), **fields)


CHANGES = [("star_conversation", {"conversation": "c", "is_starred": on}, (KEY, "c", on)) for on in (True, False)]
CHANGES += [("name_conversation", {"conversation": "c", "name": "n"}, (KEY, "c", "n")), ("delete_all", {}, (KEY,))]
CHANGES += [("delete_runs", {"runs": ["s", "r", "s"]}, (KEY, ["s", "r"]))]
CHANGES += [("delete_conversation", {"conversation": "c"}, (KEY, "c"))]


@pytest.mark.parametrize(("name", "fields", "call"), CHANGES)
def test_changes_are_passed_on(name: str, fields: dict[str, Any], call: tuple[Any, ...]) -> None:
    history = Spy()
    assert "error" not in ask(history, name, **fields)
    assert history.calls == [(name, *call)]
    assert "error" in ask(history, name, **{**fields, "key": "x"})


def conversation(name: str = "") -> ConversationSummary:
    runs = (summary(), summary(run_id="r2", swap=None, branch_position=None, outcome=None, is_shared=False))
    return ConversationSummary(conversation_id="c1", name=name, is_starred=True, num_runs=5, runs=runs)


def test_conversations_are_listed_whole() -> None:
    history = Spy(conversations=[conversation("Named")])
    found = ask(history, "list_conversations", offset=30, **FILTERS)
    wanted = HistoryFilter(**{**FILTERS, "since": datetime(2026, 1, 1, 11, tzinfo=UTC), "before": None})
    assert history.calls == [("conversations", KEY, wanted, PAGE_SIZE + 1, 30)]
    created = {"created_at": "2026-01-02T03:04:05+00:00", "branch_position": 4, "swap": ["␣x", "y⏎"]}
    result = {"excerpt": "Because", "outcome": "tie", "num_tokens": 20, "num_ensembled": 7, "is_shared": True}
    row = {"id": "r1", "prompt": "Why?", "status": "finished", "mode": "gate", **created, **result}
    plain = {**row, "id": "r2", "swap": None, "branch_position": None, "outcome": None, "is_shared": False}
    listed = {"id": "c1", "name": "Named", "is_starred": True, "num_runs": 5, "runs": [row, plain]}
    assert found == {"conversations": [listed], "has_more": False, "members": ["a", "b"], "forgets": True}


@pytest.mark.parametrize(("num", "has_more"), [(PAGE_SIZE, False), (PAGE_SIZE + 1, True)])
def test_a_page_says_whether_there_is_a_next(num: int, has_more: bool) -> None:
    found = ask(Spy(conversations=[conversation()] * num), "list_conversations", offset=0, **FILTERS)
    assert (len(found["conversations"]), found["has_more"], found["forgets"]) == (PAGE_SIZE, has_more, True)


def test_prompts_from_the_form_to_the_votes(house: House) -> None:
    service = house.service(settings={"max_new_tokens": 8})
    batches = Batches(service)
    ask = asking(batch_functions(service, batches))

    def start(**fields: Any) -> dict[str, Any]:
        event = gr.EventData(None, {"key": KEY, **fields})
        found: dict[str, Any] = unpacked(json.loads(start_batch(service.config, batches)(event)))
        return found

    overview = ask("batch_overview")
    assert (overview["members"], overview["max_runs"]) == (["a", "b"], 20)
    assert ask("batch_state") == {"batch": None}
    assert start(prompts=" ", at=1)["error"] == "Enter at least one prompt, one per line."
    assert start(prompts="x" * 250_001, at=1)["error"] == "250,001 characters are too many: at most 250,000."
    assert start(prompts=3, at=1)["error"] == "Prompts: expected text"
    assert start(prompts="One?", settings={"seed": None}, at=1)["error"] == "Seed: Type a whole number of at least 0."
    assert start(prompts="One?\nTwo <b>?", at=2) == {"at": 2, "error": ""}
    until(lambda: ask("batch_state")["batch"]["is_over"])
    rows = ask("batch_state")["batch"]["rows"]
    [first, run] = ask("batch_runs", runs=" ".join(row["run"] for row in rows))["runs"]
    assert first["prompt"] == "One?"
    assert run["prompt"] == "Two <b>?"
    assert [answer["name"] for answer in run["answers"]] == ["Ensemble", "a", "b"]
    assert all(answer["text"] and answer["reason"] for answer in run["answers"])
    assert len(service.history.conversations(KEY, HistoryFilter())) == 2
    assert ask("vote_run", run=run["id"], outcome="member:a") == {}
    assert ask("batch_runs", runs=run["id"])["runs"][0]["outcome"] == "member:a"
    assert ask("vote_run", run=run["id"], outcome="") == {}
    assert ask("batch_runs", runs=run["id"])["runs"][0]["outcome"] is None
    assert ask("vote_run", run=run["id"], outcome="member:c")["error"]
    assert ask("batch_runs", OTHER_KEY, runs=run["id"])["runs"][0]["is_gone"]
    assert len(ask("batch_runs", runs=" ".join([run["id"]] * 20))["runs"]) == 20
    assert ask("batch_state", OTHER_KEY) == {"batch": None}
