"""What the Batch tab's script is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from gac_app.errors import unpacked
from gac_app.services.runs.batches import Batches
from gac_app.services.runs.runs import RunService
from gac_app.ui.batch_tab import batch_functions, start_batch
from tests.services.house import House, until
from tests.ui.planted import KEY, OTHER_KEY
from tests.ui.spy import asking


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunService]:
    house = House(tmp_path / "runs.sqlite3")
    yield house.service(settings={"max_new_tokens": 8})
    house.close()


def test_prompts_from_the_form_to_the_votes(service: RunService) -> None:
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
    assert ask("vote_run", run=run["id"], outcome="member:a") == {}
    assert ask("batch_runs", runs=run["id"])["runs"][0]["outcome"] == "member:a"
    assert ask("vote_run", run=run["id"], outcome="") == {}
    assert ask("batch_runs", runs=run["id"])["runs"][0]["outcome"] is None
    assert ask("vote_run", run=run["id"], outcome="member:c")["error"]
    assert ask("batch_runs", OTHER_KEY, runs=run["id"])["runs"][0]["error"]
    assert ask("batch_state", OTHER_KEY) == {"batch": None}
