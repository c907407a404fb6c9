"""Thresholds, planted errors, and what a study is made of: a class gives its command, options and place."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gac_app import cli
from gac_app.decoding.ensemble import Ensemble
from gac_app.errors import RequestError
from gac_app.evaluation import studies
from gac_app.evaluation.running import parse_system
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.planting import planted, spoilt_sentence
from gac_app.evaluation.studies.result import StudyResult, Table, explained
from gac_app.evaluation.studies.snowballing import Snowball
from gac_app.evaluation.studies.study import studies as found_studies
from gac_app.evaluation.studies.thresholds import Thresholds, judge_sweep, pareto_front
from gac_app.evaluation.tasks import Question, first_of_each_domain, halves, load_task
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CAPITALS, CONFIG, FakeEnsemble, marked

NQ = load_task("nq")
POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_holds_the_best_at_every_price(points: list[tuple[float, float]]) -> None:
    front = [points[at] for at in pareto_front(dict(enumerate(points)))]
    for cost, gain in points:
        assert any(c <= cost and g >= gain for c, g in front), "something on the front is as good and no dearer"
    assert all((a < c) == (b < d) for a, b in front for c, d in front), "more gain costs more"


@pytest.mark.parametrize(("changes", "culprit"), [
    ({"gates": "c"}, "'c' is not a member"), ({"thresholds": "2"}, "threshold"),
    ({"thresholds": "0.2,half"}, "expected numbers with commas between"),
    ({"thresholds": ","}, "at least one threshold"), ({"options": "sideways"}, "unknown option 'sideways'"),
])  # fmt: skip
def test_what_cannot_be_swept_is_told(changes: dict[str, str], culprit: str) -> None:
    with pytest.raises(RequestError, match=culprit):
        Thresholds(**changes).curves(CONFIG)


def test_the_cheapest_threshold_that_reaches_is_recommended() -> None:
    """Of equally cheap ones the most accurate; members alone are told apart."""
    tried = {"alone:a": (0, 40), "gate@0.2": (1, 20), "gate@0.4": (2, 36), "gate@0.6": (2, 38), "gate@0.8": (3, 40)}
    found = judge_sweep(
        {
            parse_system(name, CONFIG): marked("x" * right + "." * (40 - right), num_tokens=4, num_ensembled=ensembled)
            for name, (ensembled, right) in {**tried, "every-step": (4, 38)}.items()
        }
    )
    assert found.recommended
    assert (found.recommended.system.name, found.sufficient_members) == ("gate@0.6", ["a"])


@pytest.mark.slow
def test_the_command_asks_nothing_twice_prints_and_draws(folder: Path) -> None:
    assert call(folder, "eval", "--systems", "gate@0.2,every-step").exit_code == 0
    sweep = ("sweep", "--thresholds", "0,0.2,1", "--gates", "a,b", "--out", str(folder / "plot.svg"))
    done = call(folder, *sweep, "--json")
    assert done.exit_code == 0, done.exception
    assert "12 from earlier runs" in done.stderr
    found = json.loads(done.stdout)
    systems = found["systems"]
    assert (found["task"], found["n"], len(systems)) == ("arc_challenge", 6, 9)
    assert systems["gate@0"]["share_ensembled"] == 0.0
    assert systems["gate@0"]["accuracy"] == systems["alone:a"]["accuracy"], "below 0 no gate ever is"
    shares = [systems[name]["share_ensembled"] for name in ("gate@0", "gate@0.2", "gate@1")]
    assert shares == sorted(shares)
    ElementTree.parse(folder / "plot.svg")  # noqa: S314
    assert found["recommended"] is None
    printed = call(folder, *sweep).stdout
    assert "Too few questions to recommend a threshold: 30 or more are needed." in printed
    assert "Times say little here" in printed
    assert all(f" {name} " in printed for name in systems)


def test_a_plot_that_cannot_be_written_is_refused_first(folder: Path) -> None:
    done = call(folder, "sweep", "--out", str(folder / "none" / "plot.svg"))
    assert done.exit_code == 2
    assert "Invalid value for '--out'" in done.stderr
    assert "answers" not in done.stderr


def test_halves_share_the_domains_and_stay_as_sets_grow() -> None:
    questions = [Question(id=f"{d}{n}", question="?", answers=("x",), domain=d) for d in "pqr" for n in range(6)]
    development, held_out = halves(first_of_each_domain(questions, 12))
    assert {question.domain for question in development} == {question.domain for question in held_out} == set("pqr")
    assert abs(len(development) - len(held_out)) <= 1
    more, _ = halves(first_of_each_domain(questions, None))
    assert {question.id for question in development} <= {question.id for question in more}
    apart = [question.model_copy(update={"domain": question.id}) for question in questions]
    assert [len(half) for half in halves(apart)] == [9, 9], "a question of each domain"
    with pytest.raises(RequestError, match="too few"):
        halves(questions[:1])


@pytest.mark.parametrize(("solution", "spoilt"), [
    ("Half of 48 is 48 / 2 = 24 clips. In all 72.", "Half of 48 is 48 / 2 = 25 clips."),
    ("It costs 2 * 3 = $6.\nSo 7.", "It costs 2 * 3 = $7."),
    ("There are 12 eggs and 3 hens", "There are 12 eggs and 4 hens"), ("It weighs 1.5 kg. 7 of them.", ""),
    ("None.", ""), ("", ""),
])  # fmt: skip
def test_a_sentence_is_spoilt_in_its_result(solution: str, spoilt: str) -> None:
    assert spoilt_sentence(solution) == spoilt


def test_what_is_planted_is_wrong() -> None:
    same = Question(id="it2", question="Where is the Pope?", answers=("The Roma",))
    article = Question(id="x", question="What is it?", answers=("a dog",))
    long = Question(id="y", question="Why?", answers=("one two three four five six seven",))
    questions = [CAPITALS[1], same, article, long, CAPITALS[0]]
    assert planted(NQ, questions, "word").plants["it"] == " Paris"
    with pytest.raises(RequestError, match="it: no other question has an answer that is wrong"):
        planted(NQ, questions[:4], "word")


def test_a_snowballs_list_is_judged_as_its_table(tmp_path: Path) -> None:
    says = {"France": "? No, Paris.", "Italy": "? No, Rome.", "Poland": "? No, Krakow."}
    wrong, study = dict.fromkeys(says, "? No."), Snowball(systems="alone:a,every-step")
    ask, other = (
        Evaluator(cast(Ensemble, FakeEnsemble(answers)), load_task("triviaqa"), CAPITALS, tmp_path / answers["Italy"])
        for answers in (says, wrong)
    )
    found = study.run(ask, CAPITALS).data["systems"]
    assert [[one.is_right for one in question.answers] for question in ask.asked] == [[True] * 4] * 2 + [[False] * 4]
    assert [one["num_right_without"] for one in found.values()] == [2, 2]
    none = study.run(other, CAPITALS).data["systems"]["alone:a"]
    assert (none["share_recovered"], none["ci_recovered"]) == (None, None), "nothing right, nothing lost"


def test_choices_cannot_be_begun() -> None:
    with pytest.raises(RequestError, match="whose answers are written"):
        planted(load_task("piqa"), CAPITALS, "word")


DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The study of the docs, as a file of the package."""
    [code] = re.findall(r"```\n(\"\"\"How long.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "lengths.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path)])
    found_studies.cache_clear()
    yield
    found_studies.cache_clear()
    sys.modules.pop("gac_app.evaluation.studies.lengths", None)


def test_names_in_a_result_are_explained_and_no_others() -> None:
    columns = ["system", "accuracy (95 %)", "vs gate@0.5", "ECE by chance", "Small, nats"]
    columns.append("tokens per word, after a space")
    table = Table(columns, [["alone:Small", *"12345"], ["vote+samples=4", *"12345"]])
    found = explained(StudyResult("eval", "nq: 2 questions", [table, Table(["temperature of all"], [["1"]])], {}))
    named = ["vote", "accuracy", "vs ", "ECE by chance", "temperature", "nats", "after a space", "tokens per word"]
    assert list(found) == named
    assert found["nats"].startswith("mean negative log-probability")


def test_a_new_file_is_a_new_command(lengths: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_studies()[-1].name == "lengths"
    app = cli.typer.Typer()
    for name, command in cli.study_commands().items():
        app.command(name)(command)
    monkeypatch.setattr("tests.evaluation.conftest.app", app)
    done = call(folder, "lengths", "--limit", "2", "--systems", "alone:a,every-step", task="nq", data="answers")
    assert done.exit_code == 0, done.exception
    assert "alone:a" in done.stdout
    assert "nq: 2 questions" in done.stdout
    assert "Compare the lengths of answers." in CliRunner().invoke(app, ["lengths", "--help"]).stdout
