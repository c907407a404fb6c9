"""`snowball`: who recovers from a wrong beginning of an answer."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.commands.answers import Asker, asking, check_room
from gac_app.commands.figures import compared, print_whole, share
from gac_app.commands.options import ConfigOption, JsonOption, load, write_file
from gac_app.errors import GacError
from gac_app.evaluation.questions import first_of_each_domain, read_questions
from gac_app.evaluation.systems import System, default_systems, parse_systems
from gac_app.evaluation.tasks import load_task

if TYPE_CHECKING:
    from gac_app.config import Config
    from gac_app.evaluation.snowball import SnowballReport


class PlantKind(StrEnum):
    """What is planted."""

    WORD = "word"
    SENTENCE = "sentence"


def snowball(
    task: Annotated[str, typer.Option(help="A task whose answers are written: gsm8k, bbh, triviaqa or nq.")],
    data: Annotated[Path, typer.Option(help="The questions: JSON Lines, one question a line.")],
    plant: Annotated[PlantKind, typer.Option(help="A wrong first word, or a whole wrong sentence.")] = PlantKind.WORD,
    systems: Annotated[
        str | None,
        typer.Option(help="As for eval. Default: members alone, every step, the gate, vote, mbr, lowest-perplexity."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions, of each domain in turn.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers under way at once.")] = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what earlier runs, of eval too, answered.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the plot here (SVG).")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plant a wrong beginning in each answer and measure how often each system is right after all."""
    from gac_app.evaluation.plants import planted
    from gac_app.evaluation.snowball import judge_snowball

    settled = load(config)
    check_room(settled, parallel)
    chosen = parse_systems(systems, settled) if systems else _default(settled)
    protocol, questions = load_task(task), read_questions(data)
    protocol.check(questions)
    spoilt = planted(protocol, questions, plant.value)
    asked = first_of_each_domain(questions, limit)
    with asking(settled, protocol, questions, parallel=parallel, fresh=fresh) as ask:
        without = ask(chosen, asked)
        with_plants = Asker(ask.ensemble, spoilt, questions, parallel=parallel, fresh=fresh)(chosen, asked)
    report = judge_snowball(protocol, plant.value, asked, without, with_plants)
    typer.echo(json.dumps(report.to_json())) if as_json else _print(report)
    if out:
        write_file(out, _plot(report))
    failed = [found for found in report.systems if found.num_failed]
    if failed:
        errors = [answer.error for given in (*without.values(), *with_plants.values()) for answer in given]
        raise GacError(f"answers failed and count as wrong; the first: {next(filter(None, errors))}")


def _default(config: Config) -> list[System]:
    return [*default_systems(config), *parse_systems("vote,mbr,lowest-perplexity", config)]


def _print(report: SnowballReport) -> None:
    columns = ("system", "right without", "right with it (95 %)", "recovered (95 %)", "vs best member")
    table = Table(*columns, box=SIMPLE)
    num_questions = report.systems[0].num_questions
    for found in report.systems:
        table.add_row(
            found.system.name,
            f"{found.num_right_without / num_questions:.1%}",
            share(found.num_right_planted, num_questions),
            share(found.num_recovered, found.num_right_without),
            compared(found.vs_best_member),
        )
    print_whole(f"{report.task}, a wrong {report.plant} planted: {num_questions} questions", table)


def _plot(report: SnowballReport) -> str:
    from gac_app.bench.line_plot import Panel, Point, line_plot

    places: dict[str, list[Point]] = {
        found.system.name: [
            (100 * found.num_right_without / found.num_questions, 100 * found.num_right_planted / found.num_questions)
        ]
        for found in report.systems
    }
    furthest = max(place[0] for [place] in places.values())
    places["as often with it as without"] = [(0.0, 0.0), (furthest, furthest)]
    title = f"A wrong {report.plant} planted: {report.task}, {report.systems[0].num_questions} questions"
    return line_plot(title, [Panel("right without, %", "right with it, %", places)])
