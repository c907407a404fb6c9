"""`sweep`: which threshold and gate, or which weights, suit a benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.commands.answers import check_answered, check_room, collect
from gac_app.commands.figures import accuracy, compared, figure, print_whole
from gac_app.commands.options import ConfigOption, JsonOption, load, write_file
from gac_app.commands.sweep_weights import compare_weights
from gac_app.errors import RequestError
from gac_app.evaluation.questions import read_questions
from gac_app.evaluation.tasks import Task, load_task

if TYPE_CHECKING:
    from gac_app.config import Config
    from gac_app.evaluation.questions import Question
    from gac_app.evaluation.threshold_sweep import SweepReport


def sweep(
    task: Annotated[str, typer.Option(help="As for eval: triviaqa, nq, gsm8k, bbh, mmlu, arc_challenge, piqa.")],
    data: Annotated[Path, typer.Option(help="The questions: JSON Lines, one question a line.")],
    thresholds: Annotated[str, typer.Option(help="Commas between.")] = "0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9",
    gates: Annotated[
        str | None, typer.Option(help="Members to try as the gate, commas between. Default: the configuration's.")
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Weights instead of thresholds: found on one half, checked on the other.")
    ] = False,
    options: Annotated[str, typer.Option(help="Of all ensembles, as in eval's names: paper, prefix+posterior.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions, of each domain in turn.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers under way at once; 1 to measure time.")] = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what earlier runs, of eval too, answered.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the plot here (SVG).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure accuracy against the share of steps ensembled and against time, and recommend a threshold."""
    from gac_app.evaluation.threshold_sweep import judge_sweep, plan_sweep

    settled = load(config)
    check_room(settled, parallel)
    protocol, questions = _asked(task, data)
    if weights:
        if out:
            raise RequestError("out", "plots thresholds; there is no plot of --weights")
        compare_weights(
            settled, protocol, questions, options, limit=limit, parallel=parallel, fresh=fresh, as_json=as_json
        )
        return
    plan = plan_sweep(settled, _numbers(thresholds), _gates(gates, settled), options)
    answers = collect(settled, protocol, questions, plan.systems, limit=limit, parallel=parallel, fresh=fresh)
    report = judge_sweep(protocol.name, plan, answers)
    typer.echo(json.dumps(report.to_json())) if as_json else _print(report)
    if out:
        from gac_app.commands.sweep_plot import sweep_plot

        write_file(out, sweep_plot(report))
    check_answered([point.report for point in report.points.values()])


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in text.split(",") if number.strip()]
    except ValueError:
        raise RequestError("thresholds", f"{text!r}: expected numbers with commas between") from None


def _gates(names: str | None, config: Config) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()] if names else [config.settings.gate]


def _asked(task: str, data: Path) -> tuple[Task, list[Question]]:
    protocol, questions = load_task(task), read_questions(data)
    protocol.check(questions)
    return protocol, questions


def _print(report: SweepReport) -> None:
    columns = ("system", "accuracy (95 %)", "ensembled", "ms/token", "s/answer", "vs every step", "Pareto front of")
    table = Table(*columns, box=SIMPLE)
    for system, point in report.points.items():
        found = point.report
        fronts = {"share": point.is_on_share_front, "time": point.is_on_time_front}
        table.add_row(
            system.name,
            accuracy(found),
            f"{found.share_ensembled:.1%}",
            figure(found.ms_per_token, 1),
            figure(found.seconds_per_answer, 2),
            compared(found.vs[report.every_step.system.name]),
            ", ".join(name for name, is_on in fronts.items() if is_on),
        )
    print_whole(f"{report.task}: {report.every_step.num_questions} questions", table)
    typer.echo(_recommendation(report))


def _recommendation(report: SweepReport) -> str:
    if report.recommended is None:
        return "No threshold tried reaches every step's 95 % interval."
    share = report.points[report.recommended].report.share_ensembled
    name = report.recommended.name
    found = f"Recommended: {name}, {share:.1%} of the steps ensembled, not below every step's 95 % interval."
    if report.sufficient_members:
        found += f" Nor are these members alone: {', '.join(report.sufficient_members)}."
    return found
