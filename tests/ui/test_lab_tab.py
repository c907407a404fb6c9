"""What the Lab's script is answered."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gac_app.executors.background import in_background
from gac_app.services.lab import Lab
from gac_app.ui.lab_tab import lab_functions
from tests.services.test_lab import random_pair, until

KEY, OTHER_KEY = "a" * 64, "b" * 64


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    ensemble = random_pair()
    return Lab(ensemble.config, tmp_path, lambda: in_background(ensemble))


@pytest.fixture
def ask(lab: Lab) -> Callable[..., dict[str, Any]]:
    functions = {function.__name__: function for function in lab_functions(lab)}

    def ask(name: str, key: str = KEY, **fields: Any) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(json.dumps(functions[name]({"key": key, **fields})))
        return reply

    return ask


def test_a_study_from_the_form_to_the_files(lab: Lab, ask: Callable[..., dict[str, Any]]) -> None:
    overview = ask("lab_overview")
    sets = {study["name"]: [found["name"] for found in study["sets"]] for study in overview["studies"]}
    assert sets["calibrate"] == ["sense"]
    assert sets["consistency"] == []
    assert (overview["min_questions"], overview["max_questions"]) == (4, 40)
    assert ask("lab_state") == {"running": None, "error": "", "results": []}

    assert ask("lab_start", study="sweep", set="sums", questions=4) == {}
    state = ask("lab_state")
    if state["running"]:  # it may be over already
        assert (state["running"]["title"], state["running"]["set"]) == ("Threshold", "sums")
        assert state["running"]["is_mine"]
        assert not ask("lab_state", OTHER_KEY)["running"]["is_mine"]
    until(lambda: lab.running is None)
    [listed] = ask("lab_state", OTHER_KEY)["results"]
    result = ask("lab_result", OTHER_KEY, result=listed["id"])
    assert result["heading"] == listed["heading"] == "sums: 4 questions"
    assert result["plot"].startswith("<svg")
    assert json.loads(result["json"])["n"] == 4
    rows = list(csv.reader(io.StringIO(result["csv"])))
    assert rows[0] == result["tables"][0]["columns"]
    assert len(rows) == 1 + len(result["tables"][0]["rows"])


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lab_start", {"study": "eval", "set": "trivia", "questions": 1e9}),
        ("lab_start", {"study": ["eval"], "set": "trivia", "questions": 4}),
        ("lab_start", {"study": "eval", "set": None, "questions": 4}),
        ("lab_result", {"result": "../../etc/passwd"}),
        ("lab_result", {"result": {}}),
        ("lab_state", {"key": "short"}),
    ],
)
def test_whatever_is_sent_the_answer_is_words(
    ask: Callable[..., dict[str, Any]], name: str, fields: dict[str, Any]
) -> None:
    key = fields.pop("key", KEY)
    reply = ask(name, key, **fields)
    if name == "lab_state" and "results" in reply:
        return  # nothing runs, so nobody needs to be known
    assert set(reply) == {"error"}
