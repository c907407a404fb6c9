"""Every step of the ensemble against the slower member alone.

Members run at the same time, so a step should take what its slowest member takes, and little more: the paper's takes
1.008 to 1.016 times that. Alone means with the same threads, through the same engine.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench


def measure(bench: Workbench) -> list[Row]:
    """The step's time, and the part of it that no member's forward pass accounts for."""

    def run(prompt: str, alone: str | None = None) -> Decoded:
        return decode(bench.ensemble.session(prompt, bench.settings(), alone=alone))

    names = bench.config.member_names
    # Each prompt twice: what is looked for is a few percent.
    rounds = interleaved(bench.prompts * 2, run, *(partial(run, alone=name) for name in names))
    alone_ms = {name: [answers[1 + i].ms_per_token for answers in rounds] for i, name in enumerate(names)}
    slower = max(names, key=lambda name: median(alone_ms[name]))
    ours = [answers[0] for answers in rounds]
    figures = ", ".join(f"{name} {median(times):.1f}" for name, times in alone_ms.items())
    overheads = [answer.overhead_ms for answer in ours]
    return [
        Row(
            "every step ÷ slower member alone",
            median_ratio([(answer.ms_per_token, ms) for answer, ms in zip(ours, alone_ms[slower], strict=True)]),
            target=Target("<=", 1.08),
            note=f"ms/token: {median(answer.ms_per_token for answer in ours):.1f}; alone: {figures}",
        ),
        Row(
            "combine, sample and trace ÷ slower member's step",
            median_ratio(list(zip(overheads, alone_ms[slower], strict=True))),
            target=Target("<=", 0.05),
            note=f"{median(overheads):.2f} ms a step",
        ),
    ]
