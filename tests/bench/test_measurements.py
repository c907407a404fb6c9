from __future__ import annotations

from pathlib import Path

import pytest

from gac_app.bench.measurements import MEASUREMENTS, chosen, measure_all
from gac_app.bench.rows import NotMeasured, Row
from gac_app.bench.workbench import Workbench
from gac_app.errors import ConfigError, GacError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text("members:\n  - {name: a, source: 'random:1'}\n", encoding="utf-8")
    return path


def test_choosing_keeps_the_order_of_the_list() -> None:
    assert list(chosen(["at-once", "steps"])) == ["steps", "at-once"]
    assert list(chosen([])) == list(MEASUREMENTS)[:-2], "those that take minutes run by name"


def test_a_wrong_name_is_answered_with_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r"no measurement 'stesp'; expected some of .*steps"):
        chosen(["stesp"])


def test_one_that_fails_leaves_the_others_their_rows(config: Path) -> None:
    def works(bench: Workbench) -> list[Row]:
        return [Row("works", float(bench.is_quick))]

    def lacks(bench: Workbench) -> list[Row]:
        raise NotMeasured("no browser")

    def breaks(bench: Workbench) -> list[Row]:
        raise GacError("planned")

    named = {"lacks": lacks, "breaks": breaks, "works": works}
    lacking, broken, working = measure_all(named, config, is_quick=True)
    assert (lacking.value, lacking.verdict, lacking.note) == (None, "", "not measured: no browser")
    assert (broken.value, broken.verdict, broken.note) == (None, "failed", "failed: planned")
    assert working.value == 1.0
