"""Every step of the ensemble against the slower member alone.

Members run at the same time, so a step should take little longer than its slowest member: 1.008 to 1.016 times in the
paper, and less if a member drafts while it would wait. "Alone" means with the same threads, through the same engine.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from gac_app.bench.rows import Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench


def measure(bench: Workbench) -> list[Row]:
    """The time of a step, and the part of it beyond members' forward passes."""

    def run(prompt: str, alone: str | None = None, **changes: str) -> Decoded:
        return decode(bench.ensemble.session(prompt, bench.settings(**changes), alone=alone))

    names = bench.config.member_names
    # Each prompt twice, since differences are a few percent.
    step_by_step = partial(run, speculation="off")  # here a step's time is its passes and the overhead
    rounds = interleaved(bench.prompts * 2, run, step_by_step, *(partial(run, alone=name) for name in names))
    alone_ms = {name: [answers[2 + i].ms_per_token for answers in rounds] for i, name in enumerate(names)}
    slower = max(names, key=lambda name: median(alone_ms[name]))
    ours_ms, plain_ms = ([answers[i].ms_per_token for answers in rounds] for i in (0, 1))
    overheads = [answers[1].overhead_ms for answers in rounds]
    figures = ", ".join(f"{name} {median(times):.1f}" for name, times in alone_ms.items())
    plain_ratio = median_ratio(list(zip(plain_ms, alone_ms[slower], strict=True)))
    return [
        Row(
            "every step ÷ slower member alone",
            median_ratio(list(zip(ours_ms, alone_ms[slower], strict=True))),
            target=Target("<=", 1.08),
            note=f"ms/token: {median(ours_ms):.1f}; alone: {figures}; without drafts {median(plain_ms):.1f}, "
            f"a ratio of {plain_ratio:.3f}",
        ),
        Row(
            "combine, sample and trace ÷ slower member's step",
            median_ratio(list(zip(overheads, alone_ms[slower], strict=True))),
            target=Target("<=", 0.05),
            note=f"{median(overheads):.2f} ms a step",
        ),
    ]
