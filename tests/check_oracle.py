"""Compare `generate --raw` with the expected outputs of an independent implementation of the paper's method.

    python -m tests.check_oracle [--config CONFIG]

They are in `tests/data/every_step_and_gate_fp32.json`, which says how they were made. Each run of it must give the same
tokens up to the first step at which the two best tokens, or the gate's confidence and the threshold, lie so close
together that another numeric back end may decide otherwise. The bounds follow the back end: float32 against float32, or
quantised arithmetic against float32. Exits 1 if a run falls short.
"""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import TokenEvent
from gac_app.environment import read_config
from gac_app.loading import load_ensemble
from gac_app.settings import Settings

_FILE = Path(__file__).parent / "data" / "every_step_and_gate_fp32.json"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Distances below which a decision is a near-tie."""

    gap: float
    gate: float


FLOAT32 = Bounds(gap=0.01, gate=0.005)
QUANTISED = Bounds(gap=0.1, gate=0.05)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far one run agrees, and how far it must."""

    prompt: str
    threshold: float | None
    num_equal: int
    num_steps: int
    num_decided: int  # steps before the first near-tie

    @property
    def is_ok(self) -> bool:
        return self.num_equal >= self.num_decided


def expected_runs() -> list[dict[str, Any]]:
    """Each a prompt, a threshold (None = every step), and the steps of the answer."""
    runs: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))["runs"]
    return runs


def compare(ensemble: Ensemble, run: dict[str, Any], bounds: Bounds, *, is_whole: bool = False) -> Comparison:
    """Generate one run's answer up to its first near-tie, or the whole one, and count the tokens that agree."""
    threshold, steps = run["threshold"], run["steps"]
    num_decided = next((i for i, step in enumerate(steps) if _is_near_tie(step, threshold, bounds)), len(steps))
    mode = {"mode": "every-step"} if threshold is None else {"mode": "gate", "threshold": threshold}
    how = {**mode, "alignment": "paper", "max_new_tokens": len(steps) if is_whole else max(1, num_decided)}
    settings: Settings = ensemble.config.settings_from(how)
    events = ensemble.generate(run["prompt"], settings, raw=True)
    got = [event.step.token.hex() for event in events if isinstance(event, TokenEvent)]
    expected = [step["bytes"] for step in steps]
    num_equal = next((i for i, pair in enumerate(zip(got, expected, strict=False)) if pair[0] != pair[1]), len(got))
    return Comparison(run["prompt"], threshold, num_equal, len(steps), num_decided)


def _is_near_tie(step: dict[str, Any], threshold: float | None, bounds: Bounds) -> bool:
    is_gate_tie = threshold is not None and abs(step["gate"] - threshold) < bounds.gate
    return is_gate_tie or step.get("gap", 1.0) < bounds.gap


def main(
    config: Annotated[Path, typer.Option(help="float32 bounds apply where its members run on transformers.")] = Path(
        "configs/transformers-cpu.yaml"
    ),
) -> None:
    """Print a line per run."""
    with closing(load_ensemble(read_config(config, os.environ))) as ensemble:
        is_float32 = all(member.backend == "transformers" for member in ensemble.config.members)
        bounds = FLOAT32 if is_float32 else QUANTISED
        comparisons = [compare(ensemble, run, bounds, is_whole=True) for run in expected_runs()]
    for c in comparisons:
        mode = "every step" if c.threshold is None else f"gate {c.threshold}"
        verdict = "ok" if c.is_ok else "SHORT"
        print(f"{verdict:5} {c.num_equal:3}/{c.num_steps} equal, {c.num_decided:3} decided  {mode:10} {c.prompt!r}")
    num_ok = sum(c.is_ok for c in comparisons)
    print(f"{num_ok} of {len(comparisons)} runs agree as far as they must")
    raise typer.Exit(0 if num_ok == len(comparisons) else 1)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
