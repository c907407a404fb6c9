"""The method against an independent implementation of it, where its expected outputs lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.decoding.ensemble import Ensemble
from tests.check_oracle import FLOAT32, QUANTISED, compare

FILE = Path(__file__).parents[3] / "shared" / "oracle" / "every_step_and_gate_fp32.json"
RUNS = json.loads(FILE.read_text(encoding="utf-8"))["runs"] if FILE.is_file() else []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_llama_cpp_agrees_up_to_a_near_tie(quantised: Ensemble, run: dict[str, object]) -> None:
    comparison = compare(quantised, run, QUANTISED)
    assert comparison.is_ok, comparison


@pytest.mark.parametrize("run", RUNS[:4] + RUNS[10:12], ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_float32_agrees_up_to_a_near_tie(float32: Ensemble, run: dict[str, object]) -> None:
    comparison = compare(float32, run, FLOAT32)
    assert comparison.is_ok, comparison
