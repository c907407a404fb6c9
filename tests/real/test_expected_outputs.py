"""The method against the expected outputs of an independent implementation of it."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from tests.check_oracle import FLOAT32, QUANTISED, compare, expected_runs

RUNS = expected_runs()
NUM_FLOAT32 = 6  # steps of each run: in float32 a step takes half a second. tests/check_oracle.py runs all of it


@pytest.mark.parametrize("run", RUNS[::2], ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_llama_cpp_agrees_up_to_a_near_tie(quantised: Ensemble, run: dict[str, Any]) -> None:
    comparison = compare(quantised, run, QUANTISED)
    assert comparison.is_ok, comparison


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_float32_agrees_up_to_a_near_tie(float32: Ensemble, run: dict[str, Any]) -> None:
    comparison = compare(float32, {**run, "steps": run["steps"][:NUM_FLOAT32]}, FLOAT32)
    assert comparison.is_ok, comparison
