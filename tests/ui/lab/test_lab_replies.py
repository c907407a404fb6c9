"""What the Lab's script is told, and what it passes on, over a Lab that notes its calls."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from gac_app.evaluation.studies import KeptResult, explained, to_csv
from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer, StudyResult, Table
from gac_app.services.lab.lab import MIN_QUESTIONS, OWN, STUDIES
from gac_app.services.lab.results import ListedResult
from gac_app.services.visitors import owner_of
from gac_app.ui.lab.result import _body_of, _head_of
from gac_app.ui.lab.tab import lab_functions, start_study
from gac_app.ui.requests import replying
from gac_app.ui.settings.names import systems_in_words
from tests.fakes import config_of
from tests.ui.spy import Spy

KEY, OTHER = "a" * 64, "b" * 64


class Set:
    """Ten questions that fit one study."""

    name, questions, task = "sums", [None] * 10, SimpleNamespace(about="Adding up.")

    def fits(self, study: Any) -> bool:
        return bool(study is STUDIES[0])


def lab_of(**fields: Any) -> Any:
    lab = Spy(may_start=True, may_cancel=False)
    same = {"sets": (Set(),), "max_questions": 40, "running": None, "last_error": "", "results": Spy(of=[])}
    for name, value in {**same, **fields}.items():
        setattr(lab, name, value)
    return lab


def ask(lab: Any, name: str, /, **fields: Any) -> Any:
    return {function.__name__: replying(function) for function in lab_functions(lab)}[name]({"key": KEY, **fields})


def test_the_overview_describes_studies_and_limits() -> None:
    lab = lab_of()
    found = ask(lab, "lab_overview")
    fitting = [{"name": "sums", "about": "Adding up.", "count": 10}]
    assert found == {
        "studies": [
            {"name": s.name, "title": s.title, "about": s.about, "needs": s.needs, "sets": [] if index else fitting}
            for index, s in enumerate(STUDIES)
        ],
        "own": OWN,
        "max_own_chars": 250_000,
        "min_questions": MIN_QUESTIONS,
        "max_questions": 40,
        "may_start": True,
        "browser": owner_of(KEY),
    }
    assert lab.calls == [("may_start", KEY)]


@pytest.mark.parametrize(("key", "is_mine"), [(KEY, True), (OTHER, False)])
def test_the_state_tells_what_runs_and_what_is_kept(key: str, is_mine: bool) -> None:
    running = SimpleNamespace(
        study=STUDIES[0],
        set_name="sums",
        round="alone",
        num_done=3,
        num_total=12,
        seconds_left=8.5,
        owner=owner_of(key),
    )
    listed = ListedResult("id", "2026", ("a",), "eval", "H", "N", is_mine=True, may_edit=False)
    lab = lab_of(running=running, last_error="/home/me/x.json broke", results=Spy(of=[listed]))
    assert ask(lab, "lab_state") == {
        "running": {
            "title": STUDIES[0].title,
            "set": "sums",
            "round": "alone",
            "num_done": 3,
            "num_total": 12,
            "seconds_left": 8.5,
            "is_mine": is_mine,
            "may_cancel": False,
        },
        "error": "x.json broke",
        "results": [
            {
                "id": "id",
                "created_at": "2026",
                "members": ("a",),
                "study": "eval",
                "heading": "H",
                "name": "N",
                "is_mine": True,
                "may_edit": False,
            }
        ],
    }
    assert (lab.calls, lab.results.calls) == ([("may_cancel", KEY, running)], [("of", KEY)])
    assert ask(lab_of(), "lab_state")["running"] is None


def test_changes_are_passed_on() -> None:
    lab = lab_of()
    assert ask(lab, "lab_cancel") == {}
    assert ask(lab, "lab_rename", result="r", name="n") == {}
    assert ask(lab, "lab_delete", result="r") == {}
    assert (lab.calls, lab.results.calls) == ([("cancel", KEY)], [("rename", KEY, "r", "n"), ("delete", KEY, "r")])
    fields = {"key": KEY, "at": 7, "study": "eval", "set": "sums", "questions": 4, "own": "q,a"}
    reply = start_study(lab)(gr.EventData(None, fields))
    assert json.loads(reply) == {"at": 7, "error": ""}
    assert lab.calls[1:] == [("start", KEY, "eval", "sums", 4, "q,a", {"client": ""})]


@pytest.mark.parametrize("failure", ["", "one broke"])
def test_a_result_is_told_whole(failure: str) -> None:
    table = Table(("system", "accuracy"), (("gate", "50 %"),), "Title")
    asked = AskedQuestion("q1", "1+1?", "2", (GivenAnswer("gate", "2", True, "It is 2."),))
    result = StudyResult("eval", "H", (table,), {"π": 1}, ("So.",), (), failure, (asked,))
    kept, config = KeptResult("id", "2026", ("a", "b"), result, "N"), config_of(["a", "b"])
    named = Table(("system", "accuracy"), (("the gate", "50 %"),), "Title")  # as people read it
    shown = replace(result, heading="Head", tables=(named,))
    assert _head_of(kept, shown) == {
        "id": "id",
        "name": "N",
        "study": "eval",
        "heading": "Head",
        "created_at": "2026",
        "members": ["a", "b"],
        "remarks": ["So.", *(["Note: one broke"] if failure else [])],
        "settings": "",
        "has_plot": False,
        "csv": to_csv((table,)),
        "json": '{\n  "π": 1\n}',
    }
    given = {"system": "gate", "prediction": "2", "is_right": True, "text": "It is 2.", "error": ""}
    words = systems_in_words(explained(result), config)
    assert _body_of(kept, shown, config) == {
        "id": "id",
        "members": ["a", "b"],
        "tables": [{"columns": ("system", "accuracy"), "rows": (("the gate", "50 %"),), "title": "Title"}],
        "words": {words[name]: sentence for name, sentence in explained(result).items()},
        "asked": [{"id": "q1", "prompt": "1+1?", "accepted": "2", "answers": (given,)}],
    }
