"""Thresholds: which systems are asked, which are worth their cost, and which is recommended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError
from gac_app.evaluation.running import Graded
from gac_app.evaluation.studies.thresholds import Thresholds, pareto_front
from gac_app.evaluation.tasks import Question
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CAPITALS, CONFIG, PlannedAsk, marked

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_holds_the_best_at_every_price(points: list[tuple[float, float]]) -> None:
    front = [points[at] for at in pareto_front(dict(enumerate(points)))]
    for cost, gain in points:
        assert any(c <= cost and g >= gain for c, g in front), "something on the front is as good and no dearer"
    assert all((a < c) == (b < d) for a, b in front for c, d in front), "more gain costs more"


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"gates": "c"}, "'c' is not a member"),
        ({"thresholds": "2"}, "threshold"),
        ({"thresholds": "0.2,half"}, "expected numbers with commas between"),
        ({"thresholds": ","}, "at least one threshold"),
        ({"options": "sideways"}, "unknown option 'sideways'"),
    ],
)
def test_what_cannot_be_swept_is_told(changes: dict[str, str], culprit: str) -> None:
    with pytest.raises(RequestError, match=culprit):
        Thresholds(**changes).curves(CONFIG)


# Of each system: right answers of forty, ensembled steps of ten, and seconds.
# Every step: 20 of 40, whose interval begins at 0.352: 14 are too few, 15 are not.
FOUND = {
    "alone:a": (10, 0, 1.0),
    "alone:b": (14, 0, 1.5),
    "gate@0.2": (14, 2, 1.2),
    "gate@0.4": (15, 4, 1.6),
    "gate@0.6": (21, 6, 2.5),
    "every-step": (20, 10, 2.0),
}


def _swept(num: int = 40, **changes: tuple[int, int, float]) -> Mapping[str, Any]:
    found = FOUND | {name.replace("_", ":"): planned for name, planned in changes.items()}

    def answers(name: str, questions: Sequence[Question]) -> list[Graded]:
        num_right, num_ensembled, seconds = found[name]
        marks = ("x" * num_right).ljust(40, ".")[: len(questions)]
        return marked(marks, num_tokens=10, num_ensembled=num_ensembled, seconds=seconds)

    ask: Any = PlannedAsk(answers)
    return Thresholds(thresholds="0.2,0.4,0.6").run(ask, CAPITALS[:1] * num).data


def test_recommended_is_the_smallest_share_within_the_interval() -> None:
    data = _swept()
    assert (data["recommended"], data["sufficient_members"]) == ("gate@0.4", [])
    assert data["systems"]["gate@0.4"]["vs_every-step"]["delta"] == pytest.approx(-5 / 40)
    fronts = {
        front: [name for name, one in data["systems"].items() if one[f"is_on_{front}_front"]]
        for front in ("share", "time")
    }
    assert fronts == {
        "share": ["alone:b", "gate@0.4", "gate@0.6"],
        "time": ["alone:a", "gate@0.2", "gate@0.4", "gate@0.6", "every-step"],
    }


def test_a_gate_that_does_not_pay_is_told() -> None:
    assert _swept(**dict.fromkeys(["gate@0.2", "gate@0.4", "gate@0.6"], (5, 2, 1.0)))["recommended"] is None
    assert _swept(alone_b=(20, 0, 1.0))["sufficient_members"] == ["b"]


def test_few_questions_recommend_nothing() -> None:
    assert _swept(29)["recommended"] is None


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
