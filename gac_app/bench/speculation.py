"""Speculative ensembling against plain steps and against the slowest member's own `generate`, on one device.

One core stands for one device, as in `one_core`: a step costs the sum of its forward passes, and drafts save some of
them. Both ways must write the same text.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from typing import Any

from gac_app.bench.one_core import found_on_one_core, print_found
from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio, ms_per_token
from gac_app.bench.workbench import Workbench
from gac_app.models.message import Message


def measure(bench: Workbench) -> list[Row]:
    found = found_on_one_core(bench, __name__)
    return rows(found["rounds"], found["num_different"], found["share_drafted"])


def rows(rounds: list[list[float]], num_different: int, share_drafted: float) -> list[Row]:
    """Rows from ms/token per prompt: speculative, plain, and each member's own `generate`."""
    speculative, plain, *alone = ([times[i] for times in rounds] for i in range(len(rounds[0])))
    slowest = max(alone, key=median)
    figures = f"{median(speculative):.1f} against {median(plain):.1f} and {median(slowest):.1f} ms/token"
    note = f"{figures}; {share_drafted:.0%} of tokens drafted; one core"
    names = ("speculative every step ÷ plain", "speculative every step ÷ slowest member's generate")
    if num_different:
        note = f"{num_different} of {len(rounds)} texts differ from plain decoding's"
        return [Row(name, None, note=note, is_failed=True) for name in names]
    return [
        Row(name, median_ratio(list(zip(speculative, other, strict=True))), target=Target("<=", limit), note=note)
        for name, other, limit in zip(names, (plain, slowest), (0.75, 1.2), strict=True)
    ]


def _rounds(bench: Workbench) -> dict[str, Any]:
    from gac_app.bench.library_loops import GenerateLoop

    names = bench.config.member_names
    answers: dict[str, list[Decoded]] = {"on": [], "off": []}

    def ours(prompt: str, speculation: str) -> float:
        settings = bench.settings(speculation=speculation, alignment="paper")
        answers[speculation].append(decode(bench.ensemble.session(prompt, settings)))
        return answers[speculation][-1].ms_per_token

    def library(prompt: str, name: str, loop: GenerateLoop) -> float:
        ids = bench.ensemble.members[name].encode([Message("user", prompt)])
        return ms_per_token(loop(ids, bench.num_tokens))

    loops = [(name, GenerateLoop(bench, bench.config.member(name))) for name in names]
    rounds = interleaved(
        bench.prompts,
        partial(ours, speculation="on"),
        partial(ours, speculation="off"),
        *(partial(library, name=name, loop=loop) for name, loop in loops),
    )
    texts = [[answer.finished.text for answer in answers[way][1:]] for way in ("on", "off")]  # without the warm-up
    steps = [step for answer in answers["on"][1:] for step in answer.steps]
    return {
        "rounds": rounds,
        "num_different": sum(a != b for a, b in zip(*texts, strict=True)),
        "share_drafted": sum(step.is_drafted for step in steps) / len(steps),
    }


if __name__ == "__main__":
    print_found(_rounds, *sys.argv[1:])
