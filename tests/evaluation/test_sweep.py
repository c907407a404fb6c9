"""Thresholds: which systems are asked, which are worth their cost, and which is recommended."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError
from gac_app.evaluation.studies.thresholds import Thresholds, pareto_front
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CONFIG

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
