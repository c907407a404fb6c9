"""Thresholds: which systems are asked, which are worth their cost, and which is recommended."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.studies.thresholds import SweepPlan, SweepReport, judge_sweep, pareto_front, plan_sweep
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CONFIG

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_holds_the_best_at_every_price(points: list[tuple[float, float]]) -> None:
    front = [points[at] for at in pareto_front(dict(enumerate(points)))]
    for cost, gain in points:
        assert any(c <= cost and g >= gain for c, g in front), "something on the front is as good and no dearer"
    assert all((a < c) == (b < d) for a, b in front for c, d in front), "more gain costs more"


def test_every_gate_meets_every_threshold() -> None:
    plan = plan_sweep(CONFIG, [0.5, 0.2, 0.5], ["a", "b"], "paper")
    assert [system.name for system in plan.systems] == [
        *("alone:a", "alone:b", "gate@0.2+paper", "gate@0.5+paper"),
        *("gate@0.2+gate=b+paper", "gate@0.5+gate=b+paper", "every-step+paper"),
    ]
    assert plan.gated["b"][0].settings(CONFIG).gate == "b"


@pytest.mark.parametrize(
    ("thresholds", "gates", "options", "culprit"),
    [
        ([0.5], ["c"], "", "'c' is not a member"),
        ([2.0], ["a"], "", "threshold"),
        ([], ["a"], "", "at least one threshold"),
        ([0.5], ["a"], "sideways", "unknown option 'sideways'"),
    ],
)
def test_what_cannot_be_swept_is_told(thresholds: list[float], gates: list[str], options: str, culprit: str) -> None:
    with pytest.raises(RequestError, match=culprit):
        plan_sweep(CONFIG, thresholds, gates, options)


def _answers(num_right: int, num_ensembled: int, seconds: float) -> list[Graded]:
    """Forty answers of ten steps."""
    cost = {"num_tokens": 10, "num_ensembled": num_ensembled, "seconds": seconds}
    return [Graded(str(n), is_right=n < num_right, **cost) for n in range(40)]  # type: ignore[arg-type]


PLAN = plan_sweep(CONFIG, [0.2, 0.4, 0.6], ["a"])
# Every step: 20 of 40, whose interval begins at 0.352: 14 are too few, 15 are not.
FOUND = {
    "alone:a": _answers(10, 0, 1.0),
    "alone:b": _answers(14, 0, 1.5),
    "gate@0.2": _answers(14, 2, 1.2),
    "gate@0.4": _answers(15, 4, 1.6),
    "gate@0.6": _answers(21, 6, 2.5),
    "every-step": _answers(20, 10, 2.0),
}


def _judged(plan: SweepPlan, found: dict[str, list[Graded]]) -> SweepReport:
    return judge_sweep("nq", plan, {system: found[system.name] for system in plan.systems})


def test_recommended_is_the_smallest_share_within_the_interval() -> None:
    report = _judged(PLAN, FOUND)
    assert report.recommended is not None
    assert report.recommended.name == "gate@0.4"
    assert report.sufficient_members == ()
    assert report.reports[report.recommended].vs["every-step"].delta == pytest.approx(-5 / 40)
    assert [system.name for system in report.share_front] == ["alone:b", "gate@0.4", "gate@0.6"]
    on_time_front = [system.name for system in report.time_front]
    assert on_time_front == ["alone:a", "gate@0.2", "gate@0.4", "gate@0.6", "every-step"]


def test_a_gate_that_does_not_pay_is_told() -> None:
    report = _judged(PLAN, {**FOUND, **{f"gate@{at}": _answers(5, 2, 1.0) for at in (0.2, 0.4, 0.6)}})
    assert report.recommended is None
    assert _judged(PLAN, {**FOUND, "alone:b": _answers(20, 0, 1.0)}).sufficient_members == ("b",)


def test_few_questions_recommend_nothing() -> None:
    few = {name: answers[:29] for name, answers in FOUND.items()}
    assert _judged(PLAN, few).recommended is None


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
    assert "Too few questions to recommend a threshold; 30 or more are needed." in printed
    assert "Times say little here" in printed
    assert all(f" {name} " in printed for name in systems)


def test_a_plot_that_cannot_be_written_is_refused_first(folder: Path) -> None:
    done = call(folder, "sweep", "--out", str(folder / "none" / "plot.svg"))
    assert done.exit_code == 2
    assert "Invalid value for '--out'" in done.stderr
    assert "answers" not in done.stderr


def test_worked_examples_of_ones_own_are_another_task(folder: Path) -> None:
    assert call(folder, "sweep", "--thresholds", "0.2", "--limit", "2").exit_code == 0
    data = folder / "examples.jsonl"
    data.write_text(json.dumps({"question": "Snow is", "choices": ["white", "hot"], "answer": 0}), encoding="utf-8")
    done = call(folder, "sweep", "--thresholds", "0.2", "--limit", "2", "--examples", str(data))
    assert done.exit_code == 0, done.exception
    assert "from earlier runs" not in done.stderr


def test_bad_thresholds_are_told(folder: Path) -> None:
    done = call(folder, "sweep", "--thresholds", "0.2,half")
    assert isinstance(done.exception, RequestError)
