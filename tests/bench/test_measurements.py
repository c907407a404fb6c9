from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gac_app.bench import comparisons
from gac_app.bench.comparisons import MEASUREMENTS, chosen, measure_all
from gac_app.bench.harness import Harness
from gac_app.bench.rows import NotMeasured, Row, Target, interval_of
from gac_app.bench.start import child_server, wait_for
from gac_app.cli import app
from gac_app.errors import ConfigError, GacError
from tests.command_line import members_file
from tests.fakes import config_of
from tests.server.site import free_port


def test_choosing_keeps_the_order_of_the_list() -> None:
    assert list(chosen(["at-once", "steps"])) == ["steps", "at-once"]
    assert chosen([]) == MEASUREMENTS
    with pytest.raises(ConfigError, match=r"no measurement 'stesp'; expected some of .*steps"):
        chosen(["stesp"])


def test_one_that_fails_leaves_the_others_their_rows(tmp_path: Path) -> None:
    def works(harness: Harness) -> list[Row]:
        return [Row("works", float(harness.is_quick))]

    def lacks(harness: Harness) -> list[Row]:
        raise NotMeasured("no browser")

    def breaks(harness: Harness) -> list[Row]:
        raise GacError("planned")

    named = {"lacks": lacks, "breaks": breaks, "works": works}
    lacking, broken, working = measure_all(named, members_file(tmp_path), is_quick=True)
    assert (lacking.value, lacking.verdict, lacking.note) == (None, "", "not measured: no browser")
    assert (broken.value, broken.verdict, broken.note) == (None, "failed", "failed: planned")
    assert working.value == 1.0


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([0.9, 0.9, 0.9, 1.2], "met"), ([0.9, 1.1, 1.2, 1.3], "open"), ([1.1, 1.2, 1.2, 1.3], "missed")],
)
def test_only_a_whole_interval_misses_a_target(ratios: list[float], verdict: str) -> None:
    row = Row.ratio("x", ratios, [1.0] * 4, Target("<=", 1.0))
    assert row.interval == (min(ratios), max(ratios))
    assert row.verdict == verdict


def test_an_interval_holds_the_median_of_19_in_20() -> None:
    """As in tables of the sign test at 5 %."""
    bounds = {num: interval_of(range(1, num + 1)) for num in (3, 6, 9, 12, 20)}
    assert bounds == {3: (1, 3), 6: (1, 6), 9: (2, 8), 12: (3, 10), 20: (6, 15)}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAC_CACHE", str(tmp_path))


def _plant(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    def measure(harness: Harness) -> list[Row]:
        return [*(Row(name, value, "s", Target("<=", 1.0)) for name, value in values.items()), Row("size", 3.0, "MB")]

    monkeypatch.setattr(comparisons, "MEASUREMENTS", {"planted": measure})


def test_json_has_the_rows_and_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, fine=0.5)
    done = CliRunner().invoke(app, ["bench", "--json", "--quick"])
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    told = [(row["name"], row["value"], row["target"], row["verdict"]) for row in report["rows"]]
    assert told == [("fine", 0.5, "<= 1", "met"), ("size", 3.0, None, "")]
    assert report["machine"]["usable_cores"] >= 1
    assert report["machine"]["versions"]["torch"] != "none"


def test_a_missed_target_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, fine=0.5, slow=1.5)
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if "slow" in line]
    assert "1.500 s" in line
    assert "missed" in line


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "planted_child.py").write_text(
        "import json, sys\n"
        "if sys.argv[2] == 'true': sys.exit('first line\\nthe reason')\n"
        "print(json.dumps(sys.argv[1:]))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "planted_child"


def test_a_child_hands_back_its_json_or_says_why_not(module: str) -> None:
    whole, quick = (Harness(Path("a.yaml"), config_of(["a"]), is_quick=is_quick) for is_quick in (False, True))
    assert whole.in_child(module) == ["a.yaml", "false"]
    with pytest.raises(GacError, match="planted_child failed: the reason"):
        quick.in_child(module)


@pytest.mark.process
def test_a_server_is_waited_for_and_ended() -> None:
    port = free_port()
    with child_server(["-m", "http.server", str(port), "--bind", "127.0.0.1"]) as server:
        wait_for(server, f"http://127.0.0.1:{port}/")
        assert server.poll() is None
    assert server.poll() is not None


def test_a_server_that_ends_before_it_answers_is_no_start() -> None:
    with child_server(["-c", "raise SystemExit(3)"]) as server, pytest.raises(GacError, match="ended with status 3"):
        wait_for(server, f"http://127.0.0.1:{free_port()}/")
