"""What the Lab's script is answered."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from gac_app.errors import NotFoundError, unpacked
from gac_app.evaluation.studies.thresholds import Thresholds
from gac_app.executors.members import in_background
from gac_app.services.lab.lab import Lab
from gac_app.services.lab.studies import carry_out
from gac_app.ui.lab.result import ResultView
from gac_app.ui.lab.tab import lab_functions, start_study
from tests.services.lab.test_lab import random_pair, store_in, until
from tests.ui.planted import KEY, OTHER_KEY
from tests.ui.spy import asking


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    ensemble = random_pair()
    return Lab(ensemble.config, tmp_path, lambda: in_background(ensemble), store_in(tmp_path))


@pytest.fixture
def ask(lab: Lab) -> Callable[..., dict[str, Any]]:
    return asking(lab_functions(lab))


def start(lab: Lab, **fields: Any) -> str:
    """The error that a study is refused with."""
    reply = unpacked(json.loads(start_study(lab)(gr.EventData(None, {"key": KEY, "at": 7, **fields}))))
    assert reply["at"] == 7
    return str(reply["error"])


@pytest.mark.parametrize(
    "wrong",
    [{"questions": 1e9}, {"study": ["eval"]}, {"set": None}, {"own": "x" * 250_001}, {"own": None}, {"key": "x"}],
)
def test_a_study_that_does_not_fit_is_refused_in_words(lab: Lab, wrong: dict[str, Any]) -> None:
    assert start(lab, **{"study": "eval", "set": "trivia", "questions": 4, "own": "", **wrong})
    assert lab.running is None


@pytest.mark.slow
def test_a_study_from_the_form_to_the_files(lab: Lab, ask: Callable[..., dict[str, Any]]) -> None:
    overview = ask("lab_overview")
    assert [study["name"] for study in overview["studies"]] == ["advise", "eval", "cost"]
    assert [found["name"] for found in overview["sets"]] == ["trivia", "sense", "sums"]
    assert overview["titles"]["calibrate"] == "Calibration", "of the command line"
    assert (overview["min_questions"], overview["max_questions"]) == (4, 40)
    assert ask("lab_state") == {"running": None, "error": "", "results": []}

    assert start(lab, study="eval", set="sums", questions=4, own="") == ""
    state = ask("lab_state")
    if state["running"]:  # it may be over already
        assert (state["running"]["title"], state["running"]["set"]) == ("Benchmark", "sums")
        assert state["running"]["is_mine"]
        assert not ask("lab_state", OTHER_KEY)["running"]["is_mine"]
    until(lambda: lab.running is None)
    assert ask("lab_state", OTHER_KEY)["results"] == []
    [listed] = ask("lab_state")["results"]
    assert ask("lab_rename", result=listed["id"], name=" Mine ") == {}
    assert "at most 100" in ask("lab_rename", result=listed["id"], name="x" * 101)["error"]
    assert ask("lab_rename", OTHER_KEY, result=listed["id"], name="Theirs")["error"]
    assert ask("lab_delete", OTHER_KEY, result=listed["id"])["error"]
    with pytest.raises(NotFoundError):
        lab.results.load(OTHER_KEY, listed["id"])
    assert ask("lab_state")["results"][0]["name"] == lab.results.load(KEY, listed["id"]).name == "Mine"
    assert ask("lab_delete", result=listed["id"]) == {}
    assert ask("lab_state")["results"] == []


@pytest.mark.slow
def test_a_result_is_shown_with_charts_tables_words_and_answers(lab: Lab) -> None:
    sums = next(one for one in lab.sets if one.name == "sums")
    result = carry_out(Thresholds, random_pair(), sums, 4, None, lambda _: None)
    lab.results.ready_to_keep(KEY, result, is_own=False)().result()
    [listed] = lab.results.of(KEY)
    with gr.Blocks():
        view = ResultView(lab, lab._config)
    kept = lab.results.load(KEY, listed.id)
    head, *plots, body = view.of(kept, "en")
    found, shown = (unpacked(json.loads(part)) for part in (head, body))
    assert (found["heading"], found["has_plot"], json.loads(found["json"])["n"]) == ("sums: 4 questions", True, 4)
    assert [plot.visible for plot in plots] == [True, True, False, False, False, False]
    rows = list(csv.reader(io.StringIO(found["csv"])))
    assert rows[0][:3] == [*shown["tables"][0]["columns"][:3]]
    assert all(re.fullmatch(r"\d+\.\d% \(.+\)", row[1]) for row in rows[1:])
    assert {"accuracy", "Pareto front of"} <= {word for word, _ in shown["words"]}
    assert len(shown["asked"]) == 4
    named = ["ensemble, asks below 20 %", "ensemble, asks at every step"]
    assert [shown["tables"][0]["rows"][at][0] for at in (2, -1)] == named
    assert set(named) <= {answer["system"] for answer in shown["asked"][0]["answers"]}
    assert {"gate@0.2", "every-step"} <= {row[0] for row in rows}
    first, *others = kept.result.asked
    partial = replace(kept.result, asked=[replace(first, answers=first.answers[:1]), *others])
    shown_as = (kept.result, partial, replace(kept.result, study="snowball"))
    told = [len(json.loads(view.of(replace(kept, result=one), "en")[0])["systems"]) for one in shown_as]
    assert told == [len(first.answers), 0, 0], "compared where each was asked everything, and once"
    assert len(view.nothing()) == len(view.outputs) == len([head, *plots, body])
