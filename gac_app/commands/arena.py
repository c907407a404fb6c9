"""`arena play`: votes by the known answers of a task."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.commands.options import (
    ConfigOption,
    DataOption,
    JsonOption,
    LimitOption,
    ParallelOption,
    load,
    plain_console,
)
from gac_app.environment import database_url

if TYPE_CHECKING:
    from gac_app.arena.rating.leaderboard import Leaderboard

app = typer.Typer(help="The arena without people.", no_args_is_help=True)


@app.command()
def play(
    task: Annotated[str, typer.Option(help="As for `eval`: gsm8k, triviaqa, mmlu, ...")],
    data: DataOption,
    limit: LimitOption = None,
    parallel: ParallelOption = 4,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a task's known answers judge every pair of contestants. These votes are kept apart from people's."""
    from gac_app.arena.contestants import contestants_of
    from gac_app.commands.studies import evaluating
    from gac_app.evaluation.running import System
    from gac_app.evaluation.studies import check_room
    from gac_app.evaluation.tasks import asked, first_of_each_domain
    from gac_app.services.battles.reference_votes import reference_battles
    from gac_app.services.battles.standings import Standings
    from gac_app.services.runs.runs import config_hash_of
    from gac_app.storage import Store

    settled = load(config)
    check_room(settled, parallel)
    contestants = contestants_of(settled)
    protocol, questions = asked(task, data)
    chosen = first_of_each_domain(questions, limit)
    of_task = {"stop", "max_new_tokens"}
    systems = [System(one.name, one.member, one.settings.model_dump(exclude=of_task)) for one in contestants]
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=False) as ask:
        answers = ask(systems, chosen)
    with closing(Store(database_url(settled), server="")) as store:
        for number, question in enumerate(chosen):
            given = {system.name: answers[system][number] for system in systems}
            battles = reference_battles(protocol, question, given, contestants, config_hash_of(settled))
            store.import_records([], battles).result()
        board = Standings(store, [one.name for one in contestants], settled.arena.min_votes).rated("reference")
    _show(board, as_json)


def _show(board: Leaderboard, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(board)))
        return
    if board.problem:
        typer.echo(board.problem)
    table = Table("rank", "contestant", "rating", "95 %", "votes", box=SIMPLE)
    for line in board.standings:
        is_rated = line.rating is not None
        table.add_row(
            f"{line.rank_low} to {line.rank_high}" if is_rated else "",
            line.name,
            f"{line.rating:.0f}" if is_rated else "",
            f"{line.low:.0f} to {line.high:.0f}" if is_rated else "",
            f"{line.num_votes:,}",
        )
    plain_console().print(table)
