"""`calibrate`: whether the confidence of members and ensemble matches their accuracy (paper, table 1)."""

from __future__ import annotations

from typing import Annotated

import typer

from gac_app.commands.answers import evaluating
from gac_app.commands.options import (
    ConfigOption,
    DataOption,
    ExamplesOption,
    FreshOption,
    JsonOption,
    LimitOption,
    OutOption,
    ParallelOption,
    load,
    named_systems,
)
from gac_app.commands.show import show
from gac_app.evaluation.running import alone_and_every_step, refuse_rules
from gac_app.evaluation.studies import check_room
from gac_app.evaluation.tasks import asked, first_of_each_domain


def calibrate(
    task: Annotated[str, typer.Option(help="A task of multiple choice: mmlu, mmlu_cloze, arc_challenge or piqa.")],
    data: DataOption,
    limit: LimitOption = None,
    systems: Annotated[
        str | None, typer.Option(help="As for eval. Default: each member alone, and every-step; comma-separated.")
    ] = None,
    examples: ExamplesOption = None,
    parallel: ParallelOption = 4,
    fresh: FreshOption = False,
    out: OutOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure calibration errors overall and by domain, and fit a temperature on one half, checked on the other."""
    from gac_app.evaluation.analyses.calibration import check_choices
    from gac_app.evaluation.studies.calibration import run_calibration

    settled = load(config)
    check_room(settled, parallel)
    chosen = named_systems(systems, settled) if systems else alone_and_every_step(settled)
    refuse_rules(chosen)
    protocol, questions = asked(task, data, examples)
    sample = first_of_each_domain(questions, limit)
    check_choices(protocol, sample)
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=fresh) as ask:
        result = run_calibration(ask, sample, chosen)
    show(result, settled, as_json=as_json, out=out)
