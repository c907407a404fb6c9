"""Every step of the ensemble against the slower member alone.

Members run at the same time, so a step should take little longer than its slowest member: 1.008 to 1.016 times in the
paper, and less if a member drafts while it would wait. "Alone" means with the same threads, through the same engine.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from statistics import median

from gac_app.bench.rows import NotMeasured, Row, Target
from gac_app.bench.timing import Decoded, decode, interleaved, median_ratio
from gac_app.bench.workbench import Workbench
from gac_app.config import Config
from gac_app.member_config import MemberConfig


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


def measure_all_cores(bench: Workbench) -> list[Row]:
    """Every step of an ensemble whose members share the cores, against its largest member on all cores."""
    from gac_app.bootstrap import load_ensemble
    from gac_app.models.hardware import available_cores

    on_cpu = [member for member in bench.config.members if bench.placements[member.name].is_on_cpu]
    if len(on_cpu) < len(bench.config.members) or not all(member.num_params for member in on_cpu):
        raise NotMeasured("needs members on the CPU whose num_params are known")
    largest = max(on_cpu, key=lambda member: member.num_params or 0.0)
    member = largest.model_copy(update={"num_threads": available_cores()})
    with closing(load_ensemble(_config_of_one(bench.config, member))) as one:

        def alone(prompt: str) -> float:
            return decode(one.session(prompt, bench.settings(), alone=member.name)).ms_per_token

        def together(prompt: str) -> float:
            return decode(bench.ensemble.session(prompt, bench.settings())).ms_per_token

        rounds = interleaved(bench.prompts * 2, alone, together)
    ratio = median_ratio([(alone_ms, ours_ms) for alone_ms, ours_ms in rounds])
    note = f"ms/token: {median(b for _, b in rounds):.1f}; {member.name} alone {median(a for a, _ in rounds):.1f}"
    name = "every step: tokens/s ÷ largest member's with all cores"
    return [Row(name, ratio, target=Target(">=", 0.9), note=note)]


def _config_of_one(config: Config, member: MemberConfig) -> Config:
    settings = config.settings.model_copy(update={"gate": member.name, "weights": "average"})
    return config.model_copy(update={"members": (member,), "settings": settings})
