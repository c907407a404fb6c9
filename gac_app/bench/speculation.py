"""Speculative ensembling against plain steps, on one device. Both must write the same text.

One core stands for one device: the engine's threads take turns, so a step costs the sum of its forward passes, and
drafts save some of them.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from statistics import median
from typing import Any

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench, print_found


def measure(bench: Workbench) -> list[Row]:
    if not hasattr(os, "sched_setaffinity"):
        raise NotMeasured("this system cannot keep a process on one core")
    return [row_of(**bench.in_child(__name__))]


def row_of(rounds: list[list[float]], num_different: int, share_drafted: float) -> Row:
    """The row from ms/token per prompt, speculative and plain."""
    name = "speculative every step ÷ plain"
    if num_different:
        note = f"{num_different} of {len(rounds)} texts differ from plain decoding's"
        return Row(name, None, note=note, is_failed=True)
    figures = " against ".join(f"{median(times):.1f}" for times in zip(*rounds, strict=True))
    note = f"{figures} ms/token; {share_drafted:.0%} of tokens drafted; one core"
    return Row(name, median_ratio([(a, b) for a, b in rounds]), target=Target("<=", 0.75), note=note)


def compared(bench: Workbench) -> dict[str, Any]:
    """The arguments of `row_of`."""

    def answer(prompt: str, speculation: str) -> Decoded:
        settings = bench.settings(speculation=speculation, alignment="paper")
        return decode(bench.ensemble.session(prompt, settings))

    rounds = interleaved(bench.prompts, *(partial(answer, speculation=how) for how in ("on", "off")))
    steps = [step for speculative, _ in rounds for step in speculative.steps]
    return {
        "rounds": [[answer.ms_per_token for answer in answers] for answers in rounds],
        "num_different": sum(a.finished.text != b.finished.text for a, b in rounds),
        "share_drafted": sum(step.is_drafted for step in steps) / len(steps),
    }


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before torch counts cores
    print_found(compared, *sys.argv[1:])
