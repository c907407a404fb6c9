"""`sweep --weights`: which weights suit a benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.commands.answers import asking, check_answered
from gac_app.commands.figures import accuracy, compared, print_whole
from gac_app.evaluation.questions import Question, first_of_each_domain

if TYPE_CHECKING:
    from gac_app.config import Config
    from gac_app.evaluation.tasks import Task
    from gac_app.evaluation.weight_sweep import WeightReport


def compare_weights(
    config: Config,
    task: Task,
    questions: Sequence[Question],
    options: str,
    *,
    limit: int | None,
    parallel: int,
    fresh: bool,
    as_json: bool,
) -> None:
    """Find weights on one half of the questions, compare the methods on the other, and print it."""
    from gac_app.evaluation.weight_sweep import sweep_weights

    with asking(config, task, questions, parallel=parallel, fresh=fresh) as ask:
        report = sweep_weights(ask.ensemble, ask, task.name, first_of_each_domain(questions, limit), options)
    typer.echo(json.dumps(report.to_json())) if as_json else _print(report)
    check_answered([found for method in report.methods.values() for found in (method.development, method.held_out)])


def _print(report: WeightReport) -> None:
    columns = ("method", "weights", "development", "held out (95 %)", "vs average", "vs best member")
    table = Table(*columns, box=SIMPLE)
    average = report.methods["average"]
    for name, method in report.methods.items():
        table.add_row(
            name,
            " : ".join(f"{weight:g}" for weight in method.weights.values()) if method.weights else "follow the text",
            f"{method.development.accuracy:.1%}",
            accuracy(method.held_out),
            compared(method.held_out.vs[average.system.name]),
            compared(method.held_out.vs_best_member),
        )
    counts = f"{average.development.num_questions} questions to find weights, {average.held_out.num_questions} held out"
    print_whole(f"{report.task}: {counts}", table)
