"""The method against the expected outputs of an independent implementation of it.

They are in `tests/data/every_step_and_gate_fp32.json`, which says how they were made. Each answer must have the same
tokens up to the first step at which the two best tokens, or the gate's confidence and the threshold, lie so close
together that another numeric back end may decide otherwise. `python -m pytest -m long -s` with this file compares whole
answers, and prints how far each agrees.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import TokenEvent

# Each a prompt, a threshold (None = every step), and the steps of the answer.
RUNS = json.loads(Path(__file__).parents[1].joinpath("data/every_step_and_gate_fp32.json").read_text("utf-8"))["runs"]
NUM_FLOAT32 = 6  # steps of each run, where not all are asked for: in float32 a step takes half a second


@dataclass(frozen=True, slots=True)
class Bounds:
    """Distances below which a decision is a near-tie."""

    gap: float
    gate: float

    def is_near_tie(self, step: dict[str, Any], threshold: float | None) -> bool:
        is_gate_tie = threshold is not None and abs(step["gate"] - threshold) < self.gate
        return is_gate_tie or step.get("gap", 1.0) < self.gap


FLOAT32 = Bounds(gap=0.01, gate=0.005)
QUANTISED = Bounds(gap=0.1, gate=0.05)


def compare(ensemble: Ensemble, run: dict[str, Any], bounds: Bounds, *, is_whole: bool = False) -> str:
    """Generate one run's answer up to its first near-tie, or the whole one. Returns how far it agrees."""
    threshold, steps = run["threshold"], run["steps"]
    num_decided = next((i for i, step in enumerate(steps) if bounds.is_near_tie(step, threshold)), len(steps))
    mode = {"mode": "every-step"} if threshold is None else {"mode": "gate", "threshold": threshold}
    how = {**mode, "alignment": "paper", "max_new_tokens": len(steps) if is_whole else max(1, num_decided)}
    events = ensemble.generate(run["prompt"], ensemble.config.settings_from(how), raw=True)
    got = [event.step.token.hex() for event in events if isinstance(event, TokenEvent)]
    expected = [step["bytes"] for step in steps]
    num_equal = next((i for i, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]), len(got))
    found = f"{num_equal} of {len(steps)} equal, {num_decided} decided, {how['mode']} {threshold} {run['prompt']!r}"
    assert num_equal >= num_decided, found
    return found


def name_of(run: dict[str, Any]) -> str:
    return f"{run['prompt'][:12]!r}-{run['threshold']}"


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_answers_agree_up_to_a_near_tie(quantised: Ensemble, float32: Ensemble, run: dict[str, Any]) -> None:
    compare(float32, {**run, "steps": run["steps"][:NUM_FLOAT32]}, FLOAT32)
    if run in RUNS[::2]:
        compare(quantised, run, QUANTISED)


@pytest.mark.long
@pytest.mark.parametrize("run", RUNS, ids=name_of)
@pytest.mark.parametrize(("name", "bounds"), [("float32", FLOAT32), ("quantised", QUANTISED)])
def test_whole_answers_agree(name: str, bounds: Bounds, run: dict[str, Any], request: pytest.FixtureRequest) -> None:
    print(name, compare(request.getfixturevalue(name), run, bounds, is_whole=True))
