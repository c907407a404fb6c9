"""`calibrate`: whether members and ensemble are as often right as they are sure (paper, table 1)."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from gac_app.commands.options import ConfigOption, JsonOption, load, write_file

if TYPE_CHECKING:
    from gac_app.evaluation.calibration_study import CalibrationReport


def calibrate(
    task: Annotated[str, typer.Option(help="A task of multiple choice, such as mmlu, arc_challenge or piqa.")],
    data: Annotated[Path, typer.Option(help="Questions, one JSON object a line.")],
    limit: Annotated[int | None, typer.Option(min=2, help="At most so many questions, from all domains.")] = None,
    examples: Annotated[Path | None, typer.Option(help="Worked examples of your own, in the form of the data.")] = None,
    systems: Annotated[str, typer.Option(help="Commas between. Default: each member alone, and every-step.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the reliability diagrams here (SVG).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure calibration errors overall and by domain, and fit a temperature on one half, checked on the other."""
    report = _report(config, task, data, limit, examples, systems)
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        console = Console(markup=False, highlight=False)
        console.print(_systems_table(report))
        console.print(_scaling_table(report))
        if any(system.domains for system in report.systems.values()):
            console.print(_domains_table(report))
    if out:
        from gac_app.evaluation.calibration_diagram import reliability_diagram

        write_file(out, reliability_diagram(report))


def _report(
    config: Path | None, task_name: str, data: Path, limit: int | None, examples: Path | None, systems: str
) -> CalibrationReport:
    from gac_app.bootstrap import load_ensemble
    from gac_app.evaluation.calibration_study import calibrate_systems
    from gac_app.evaluation.questions import first_of_each_domain, read_questions
    from gac_app.evaluation.systems import parse_systems
    from gac_app.evaluation.tasks import load_task

    settled = load(config)
    task = load_task(task_name)
    if examples:
        task = task.with_examples(read_questions(examples))
    questions = first_of_each_domain(read_questions(data), limit)
    names = systems or ",".join([*(f"alone:{name}" for name in settled.member_names), "every-step"])
    chosen = parse_systems(names, settled)
    task.check(questions)
    with (
        Progress(console=Console(stderr=True), transient=True) as progress,
        closing(load_ensemble(settled)) as ensemble,
    ):
        scoring = progress.add_task("scoring", total=len(questions) * len(chosen))
        return calibrate_systems(ensemble, task, questions, chosen, lambda: progress.advance(scoring))


def _systems_table(report: CalibrationReport) -> Table:
    errors = ("ECE", "ECE by chance", "adaptive ECE", "classwise ECE")
    table = Table(
        _named("system"), "accuracy", "confidence", *errors, title=f"{report.task}, {report.num_questions} questions"
    )
    for name, system in report.systems.items():
        found = system.overall
        figures = (found.accuracy, found.confidence, found.ece, found.chance_ece, found.adaptive_ece)
        table.add_row(name, *(f"{figure:.3f}" for figure in (*figures, found.classwise_ece)))
    return table


def _scaling_table(report: CalibrationReport) -> Table:
    columns = ("temperature", "ECE", "scaled", "by chance", "nats", "scaled")
    table = Table(
        _named("system"), *columns, title="temperature fitted on one half of the questions, checked on the other"
    )
    for name, system in report.systems.items():
        before, after = system.scaling.before, system.scaling.after
        figures = (before.ece, after.ece, after.chance_ece, before.nll, after.nll)
        table.add_row(name, f"{system.scaling.temperature:.2f}", *(f"{figure:.3f}" for figure in figures))
    return table


def _domains_table(report: CalibrationReport) -> Table:
    names = map(_named, report.systems)
    table = Table(_named("domain"), "questions", *names, title="ECE by domain (ECE by chance)")
    domains = next(iter(report.systems.values())).domains
    for domain, found in domains.items():
        in_domain = (system.domains[domain] for system in report.systems.values())
        figures = (f"{system.ece:.3f} ({system.chance_ece:.3f})" for system in in_domain)
        table.add_row(domain, str(found.num_questions), *figures)
    return table


def _named(heading: str) -> Column:
    """A column in which long names are broken, never cut."""
    return Column(heading, overflow="fold")
