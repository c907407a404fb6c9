"""`snowball`: which systems recover from a wrong beginning of an answer."""

from __future__ import annotations

from enum import StrEnum
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
from gac_app.evaluation.analyses import planted
from gac_app.evaluation.running import with_whole_answers
from gac_app.evaluation.studies import check_room
from gac_app.evaluation.studies.snowballing import run_snowball
from gac_app.evaluation.tasks import asked, first_of_each_domain


class PlantKind(StrEnum):
    """The kind of wrong beginning."""

    WORD = "word"
    SENTENCE = "sentence"


def snowball(
    task: Annotated[str, typer.Option(help="A task whose answers are written: gsm8k, bbh, triviaqa or nq.")],
    data: DataOption,
    plant: Annotated[PlantKind, typer.Option(help="A wrong first word, or a whole wrong sentence.")] = PlantKind.WORD,
    systems: Annotated[
        str | None,
        typer.Option(help="As for eval. Default: members alone, every step, the gate, vote, mbr, lowest-perplexity."),
    ] = None,
    limit: LimitOption = None,
    examples: ExamplesOption = None,
    parallel: ParallelOption = 4,
    fresh: FreshOption = False,
    out: OutOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plant a wrong beginning in each answer, and measure how often each system still answers right."""
    settled = load(config)
    check_room(settled, parallel)
    chosen = named_systems(systems, settled) if systems else with_whole_answers(settled)
    protocol, questions = asked(task, data, examples)
    planted(protocol, questions, plant.value)  # raises before members are loaded if no wrong beginning can be found
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=fresh) as ask:
        result = run_snowball(ask, questions, first_of_each_domain(questions, limit), chosen, plant.value)
    show(result, settled, as_json=as_json, out=out)
