"""`sweep`: the best threshold and gate, weights, or number of members for a benchmark."""

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
)
from gac_app.commands.show import show
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.studies import check_room
from gac_app.evaluation.studies.members import run_members
from gac_app.evaluation.studies.thresholds import THRESHOLDS, run_thresholds
from gac_app.evaluation.studies.weights import run_weights
from gac_app.evaluation.tasks import asked, first_of_each_domain


def sweep(
    task: Annotated[str, typer.Option(help="As for eval: triviaqa, nq, gsm8k, bbh, mmlu, arc_challenge, piqa.")],
    data: DataOption,
    thresholds: Annotated[str, typer.Option(help="Commas between.")] = ",".join(map(str, THRESHOLDS)),
    gates: Annotated[
        str | None, typer.Option(help="Members to try as the gate, comma-separated. Default: the configuration's.")
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Weights instead of thresholds: found on one half, checked on the other.")
    ] = False,
    members: Annotated[
        bool, typer.Option("--members", help="Members instead of thresholds: every choice of members, by number.")
    ] = False,
    options: Annotated[
        str, typer.Option(help="Options of all ensembles, as in eval's names: paper, prefix+posterior.")
    ] = "",
    limit: LimitOption = None,
    examples: ExamplesOption = None,
    parallel: ParallelOption = 4,
    fresh: FreshOption = False,
    out: OutOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure accuracy against the share of steps ensembled and against time, and recommend a threshold."""
    settled = load(config)
    check_room(settled, parallel)
    if weights and members:
        raise RequestError("members", "goes without --weights")
    protocol, questions = asked(task, data, examples)
    sample = first_of_each_domain(questions, limit)
    numbers, tried = _numbers(thresholds), _gates(gates, settled)
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=fresh) as ask:
        if weights:
            result = run_weights(ask, sample, options)
        elif members:
            result = run_members(ask, sample, options)
        else:
            result = run_thresholds(ask, sample, numbers, tried, options)
    show(result, settled, as_json=as_json, out=out)


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",") if number.strip()]
    except ValueError:
        raise RequestError("thresholds", f"{text!r}: expected numbers with commas between") from None


def _gates(names: str | None, config: Config) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if names else [config.settings.gate]
