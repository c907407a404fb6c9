"""Members too unequal for the settings at hand: who lags, by what evidence, and what would fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gac_app.config import Config
from gac_app.config_file import load_config
from gac_app.evaluation.metrics import strength_advice

TOLD = (
    "On trivia (40 questions), behind a: b by 50 %. Such a gap mostly hurts an ensemble. Set weights by strength "
    "(a 1, b 0.5), or use gate mode with a as the gate."
)


def config(*scores: float, **settings: Any) -> Config:
    members = [
        {"name": name, "source": "random:1", **({"score": score} if score else {})}
        for name, score in zip("abc", scores, strict=False)
    ]
    return Config.model_validate({"members": members, "settings": {"mode": "every-step", **settings}})


def benchmark(n: int = 40, task: str = "trivia", **members: tuple[float, float]) -> dict[str, Any]:
    """Of each member its accuracy alone, and p against the best one."""
    systems = {
        f"alone:{name}": {"accuracy": accuracy, "errors": 0, "vs_best_member": {"delta": 0.0, "p": p}}
        for name, (accuracy, p) in members.items()
    }
    return {"task": task, "n": n, "systems": {**systems, "every-step": {"accuracy": 0.5, "errors": 0}}}


UNEQUAL = benchmark(a=(0.8, 1.0), b=(0.4, 0.001))


def told(settled: Config, *benchmarks: dict[str, Any], **changes: Any) -> str:
    return strength_advice(settled, settled.settings_from(changes), benchmarks)


EQUAL, UNCERTAIN = (benchmark(400, a=(0.8, 1.0), b=lagging) for lagging in ((0.8, 1.0), (0.4, 0.5)))
FAILED = {**UNEQUAL, "systems": {**UNEQUAL["systems"], "alone:b": {**UNEQUAL["systems"]["alone:b"], "errors": 1}}}


@pytest.mark.parametrize(
    ("benchmarks", "changes", "expected"),
    [
        ([UNEQUAL], {}, TOLD),
        ([UNEQUAL], {"weights": {"a": 1, "b": 0.5}}, ""),  # the advice is followed
        ([UNEQUAL], {"mode": "gate", "gate": "a"}, ""),
        ([UNEQUAL], {"mode": "gate", "gate": "b"}, TOLD),
        ([UNEQUAL], {"mode": "agreement", "gate": "a"}, TOLD),
        ([UNEQUAL], {"weights": "posterior"}, TOLD),
        ([UNEQUAL], {"weights": {"a": 1, "b": 2}}, TOLD),
        ([benchmark(a=(0.8, 1.0), b=(0.72, 0.001))], {}, ""),  # a small gap
        ([benchmark(a=(0.8, 1.0), b=(0.4, 0.06))], {}, ""),  # one that may be noise
        ([UNEQUAL, EQUAL], {}, ""),  # the largest counts
        ([UNEQUAL, UNCERTAIN], {}, TOLD),
        ([benchmark(a=(0.8, 1.0))], {}, ""),  # not all members alone
        ([benchmark(a=(0.0, 1.0), b=(0.0, 1.0))], {}, ""),
        ([FAILED], {}, ""),
    ],
)
def test_a_member_that_lags_is_told_with_what_fits(
    benchmarks: list[dict[str, Any]], changes: dict[str, Any], expected: str
) -> None:
    assert told(config(0, 0), *benchmarks, **changes) == expected


def test_of_three_members_all_that_lag_are_named_and_no_other() -> None:
    found = told(config(0, 0, 0), benchmark(a=(0.2, 0.001), b=(0.8, 1.0), c=(0.6, 0.04)))
    assert "behind b: a by 75 %, c by 25 %." in found
    assert "(a 0.25, b 1, c 0.75), or use gate mode with b" in found
    assert "behind c: b by 50 %. " in told(config(0, 0, 0), benchmark(a=(0.75, 0.4), b=(0.4, 0.001), c=(0.8, 1.0)))


def test_a_gate_that_does_not_lag_is_strong_enough() -> None:
    three = benchmark(a=(0.75, 0.4), b=(0.4, 0.001), c=(0.8, 1.0))
    assert told(config(0, 0, 0), three, mode="gate", gate="a") == ""
    assert told(config(0, 0, 0), three, weights={"a": 2, "b": 1, "c": 1})
    assert told(config(0, 0, 0), three, weights={"a": 1, "b": 1, "c": 2}) == ""


def test_of_equals_the_newest_benchmark_counts() -> None:
    newer = benchmark(task="sums", a=(0.4, 0.001), b=(0.8, 1.0))
    assert told(config(0, 0), newer, UNEQUAL).startswith("On sums (40 questions), behind b: a by 50 %.")


def test_scores_count_where_no_benchmark_can_tell() -> None:
    by_score = "By score, behind a: b by 25 %. "
    assert told(config(80, 60)).startswith(by_score)
    assert told(config(80, 60), benchmark(a=(0.5, 0.6), b=(0.8, 1.0))).startswith(by_score)
    assert told(config(80, 60), benchmark(a=(0.8, 1.0), b=(0.79, 0.9))) == ""
    assert told(config(80, 60), weights="score") == ""
    assert told(config(80, 73)) == ""
    assert told(config(80, 0)) == ""


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("configs/*.yaml")), ids=lambda path: path.stem)
def test_the_presets_have_members_of_like_strength(path: Path) -> None:
    assert told(load_config(path), mode="every-step", weights="average") == ""
