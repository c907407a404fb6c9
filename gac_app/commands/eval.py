"""`eval`: how often each system answers a benchmark's questions right, or how it fares on a suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.commands.answers import check_answered, check_room, collect
from gac_app.commands.eval_suite import Suite, run_suite
from gac_app.commands.figures import accuracy, compared, figure, print_whole
from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.errors import RequestError
from gac_app.evaluation.questions import read_questions
from gac_app.evaluation.report import SystemReport, summarise
from gac_app.evaluation.systems import default_systems, parse_system, parse_systems
from gac_app.evaluation.tasks import Task, load_task


def evaluate_systems(
    task: Annotated[
        str | None, typer.Option(help="piqa, arc_challenge, triviaqa, nq, mmlu, mmlu_cloze, gsm8k or bbh.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The questions: JSON Lines, one question a line.")] = None,
    suite: Annotated[
        Suite | None, typer.Option(help="Instead of a task: texts in ten languages, emoji and code, which come along.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="With --suite: only these kinds of text (french,python); commas between.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="With --suite: length of an answer.")] = 48,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions, of each domain in turn.")] = None,
    systems: Annotated[
        str | None,
        typer.Option(
            help="alone:MEMBER, every-step, gate@0.5, agreement, vote, mbr; options after '+': every-step+prefix."
        ),
    ] = None,
    against: Annotated[str | None, typer.Option(help="Compare with this system too, not only the best member.")] = None,
    examples: Annotated[Path | None, typer.Option(help="Questions to take worked examples from.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Answers under way at once; 1 to measure time.")] = 4,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask again what earlier runs have answered.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a benchmark's questions, or a suite's texts, to members alone and to ensembles.

    A benchmark that was killed goes on where it was when started again.
    """
    settled = load(config)
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
    chosen = parse_systems(systems, settled) if systems else default_systems(settled)
    rivals = [parse_system(against, settled)] if against else []
    protocol = load_task(task)
    if examples:
        protocol = protocol.with_examples(read_questions(examples))
    questions = read_questions(data)
    protocol.check(questions)
    asked = list(dict.fromkeys([*chosen, *rivals]))
    answers = collect(settled, protocol, questions, asked, limit=limit, parallel=parallel, fresh=fresh)
    reports = summarise(answers, rivals)
    typer.echo(json.dumps(_json(protocol, reports))) if as_json else _print(protocol, reports)
    check_answered(reports)


def _refuse_with_suite(**options: Any) -> None:
    for name, value in options.items():
        if value:
            raise RequestError(name, "goes with --task, not with --suite")


def _json(task: Task, reports: Sequence[SystemReport]) -> dict[str, Any]:
    systems = {report.system.name: report.to_json() for report in reports}
    return {"task": task.name, "n": reports[0].num_questions, "systems": systems}


def _print(task: Task, reports: Sequence[SystemReport]) -> None:
    rivals = list(reports[0].vs)
    columns = ["system", "accuracy (95 %)", "failed", "ensembled", "ms/token", "s/answer", "member-s", "vs best member"]
    table = Table(*columns, *(f"vs {name}" for name in rivals), box=SIMPLE)
    for report in reports:
        table.add_row(
            report.system.name,
            accuracy(report),
            str(report.num_failed),
            f"{report.share_ensembled:.1%}",
            figure(report.ms_per_token, 1),
            figure(report.seconds_per_answer, 2),
            figure(report.member_seconds_per_answer, 2),
            compared(report.vs_best_member),
            *(compared(report.vs[name]) for name in rivals),
        )
    print_whole(f"{task.name}: {reports[0].num_questions} questions", table)
