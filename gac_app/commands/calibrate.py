"""`calibrate`: whether members and ensemble are as often right as they are sure (paper, table 1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from gac_app.commands.answers import check_room, collect
from gac_app.commands.options import ConfigOption, JsonOption, load, write_file
from gac_app.evaluation.questions import first_of_each_domain, read_questions
from gac_app.evaluation.systems import parse_systems, refuse_rules
from gac_app.evaluation.tasks import load_task

if TYPE_CHECKING:
    from gac_app.evaluation.calibration_study import CalibrationReport


def calibrate(
    task: Annotated[str, typer.Option(help="A task of multiple choice: mmlu, mmlu_cloze, arc_challenge or piqa.")],
    data: Annotated[Path, typer.Option(help="The questions: JSON Lines, one question a line.")],
    limit: Annotated[int | None, typer.Option(min=2, help="Only so many questions, of each domain in turn.")] = None,
    systems: Annotated[
        str | None, typer.Option(help="As for eval. Default: each member alone, and every-step; commas between.")
    ] = None,
    examples: Annotated[Path | None, typer.Option(help="Questions to take worked examples from.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers under way at once.")] = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what earlier runs, of eval too, answered.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the reliability diagrams here (SVG).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure calibration errors overall and by domain, and fit a temperature on one half, checked on the other."""
    from gac_app.evaluation.calibration_study import calibrate_systems, check_choices

    settled = load(config)
    check_room(settled, parallel)
    names = systems or ",".join([*(f"alone:{name}" for name in settled.member_names), "every-step"])
    chosen = parse_systems(names, settled)
    refuse_rules(chosen)
    protocol = load_task(task)
    if examples:
        protocol = protocol.with_examples(read_questions(examples))
    questions = read_questions(data)
    check_choices(protocol, questions)
    answers = collect(settled, protocol, questions, chosen, limit=limit, parallel=parallel, fresh=fresh)
    report = calibrate_systems(protocol, first_of_each_domain(questions, limit), answers)
    typer.echo(json.dumps(report.to_json())) if as_json else _print(report)
    if out:
        from gac_app.evaluation.calibration_diagram import reliability_diagram

        write_file(out, reliability_diagram(report))


def _print(report: CalibrationReport) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_systems_table(report))
    console.print(_scaling_table(report))
    if any(system.domains for system in report.systems.values()):
        console.print(_domains_table(report))


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
