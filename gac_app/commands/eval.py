"""`eval`: each system's accuracy on a benchmark, or its results on a suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gac_app.commands.answers import evaluating
from gac_app.commands.eval_suite import Suite, run_suite
from gac_app.commands.options import (
    ConfigOption,
    ExamplesOption,
    FreshOption,
    JsonOption,
    LimitOption,
    ParallelOption,
    ReproducibleOption,
    load,
    named_systems,
)
from gac_app.commands.show import show
from gac_app.errors import RequestError
from gac_app.evaluation.running import default_systems
from gac_app.evaluation.studies import check_room
from gac_app.evaluation.studies.benchmark import run_benchmark
from gac_app.evaluation.tasks import asked, first_of_each_domain


def evaluate_systems(
    task: Annotated[
        str | None,
        typer.Option(help="piqa, arc_challenge, triviaqa, nq, mmlu, mmlu_cloze, gsm8k, bbh, or a task's .yaml file."),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The questions: JSON Lines, one question a line.")] = None,
    suite: Annotated[
        Suite | None, typer.Option(help="Instead of a task: built-in texts in ten languages, emoji and code.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="With --suite: only these kinds of text (french,python); comma-separated.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="With --suite: length of an answer.")] = 48,
    limit: LimitOption = None,
    systems: Annotated[
        str | None,
        typer.Option(
            help="alone:MEMBER, every-step, gate@0.5, agreement, vote, mbr; options after '+': every-step+prefix."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this system too, not only with the best member.")
    ] = None,
    examples: ExamplesOption = None,
    parallel: ParallelOption = 4,
    fresh: FreshOption = False,
    reproducible: ReproducibleOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a benchmark's questions, or a suite's texts, to members alone and to ensembles.

    An interrupted benchmark resumes when it is started again.
    """
    settled = load(config, reproducible=reproducible)
    check_room(settled, parallel)
    if suite:
        _refuse_with_suite(task=task, data=data, limit=limit, against=against, examples=examples, fresh=fresh)
        run_suite(
            settled, systems=systems, only=only, max_new_tokens=max_new_tokens, parallel=parallel, as_json=as_json
        )
        return
    if only:
        raise RequestError("only", "goes with --suite alignment")
    if task is None or data is None:
        raise RequestError("task", "give --task and --data, or --suite alignment")
    chosen = named_systems(systems, settled) if systems else default_systems(settled)
    rivals = named_systems(against, settled) if against else []
    protocol, questions = asked(task, data, examples)
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=fresh) as ask:
        result = run_benchmark(ask, first_of_each_domain(questions, limit), chosen, rivals)
    show(result, settled, as_json=as_json)


def _refuse_with_suite(**options: Any) -> None:
    for name, value in options.items():
        if value:
            raise RequestError(name, "goes with --task, not with --suite")
