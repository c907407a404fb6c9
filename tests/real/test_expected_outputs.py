"""The method against the expected outputs of an independent implementation of it."""

from __future__ import annotations

import pytest

from gac_app.decoding.ensemble import Ensemble
from tests.check_oracle import FLOAT32, QUANTISED, compare, expected_runs

RUNS = expected_runs()


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_llama_cpp_agrees_up_to_a_near_tie(quantised: Ensemble, run: dict[str, object]) -> None:
    comparison = compare(quantised, run, QUANTISED)
    assert comparison.is_ok, comparison


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['prompt'][:12]!r}-{run['threshold']}")
def test_float32_agrees_up_to_a_near_tie(float32: Ensemble, run: dict[str, object]) -> None:
    comparison = compare(float32, run, FLOAT32)
    assert comparison.is_ok, comparison
