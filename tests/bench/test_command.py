from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gac_app.bench import measurements
from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import Workbench
from gac_app.cli import app


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAC_CACHE", str(tmp_path))


def _plant(monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    def measure(bench: Workbench) -> list[Row]:
        return [*(Row(name, value, "s", Target("<=", 1.0)) for name, value in values.items()), Row("size", 3.0, "MB")]

    monkeypatch.setattr(measurements, "MEASUREMENTS", {"planted": measure})


def test_json_is_printed_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, fine=0.5)
    done = CliRunner().invoke(app, ["bench", "--json", "--quick"])
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert [(row["name"], row["value"], row["target"], row["verdict"]) for row in report["rows"]] == [
        ("fine", 0.5, "<= 1", "met"),
        ("size", 3.0, None, ""),
    ]
    assert report["machine"]["usable_cores"] >= 1
    assert report["machine"]["versions"]["torch"] != "none"
    (saved,) = (tmp_path / "bench").iterdir()
    assert json.loads(saved.read_text()) == report


def test_a_missed_target_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(monkeypatch, fine=0.5, slow=1.5)
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if "slow" in line]
    assert "1.500 s" in line
    assert "missed" in line
