"""`arena simulate` and `arena play`: votes of simulated judges, and votes by the known answers of a task."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from gac_app.commands.options import ConfigOption, DataOption, JsonOption, LimitOption, ParallelOption, load
from gac_app.commands.setting_options import named_numbers
from gac_app.config import Config
from gac_app.environment import database_url
from gac_app.errors import RequestError

if TYPE_CHECKING:
    from gac_app.arena.rating.leaderboard import Leaderboard

app = typer.Typer(help="The arena without people.", no_args_is_help=True)


@app.command()
def simulate(
    strengths: Annotated[str, typer.Option(help="Elo of each contestant, such as a=1100,b=1000,c=950.")],
    votes: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 2000,
    visitors: Annotated[int, typer.Option(min=1, max=100_000, help="Simulated visitors, who take turns.")] = 500,
    as_json: JsonOption = False,
) -> None:
    """Play simulated votes of known strengths through the arena, over random models and a temporary database."""
    from gac_app.loading import load_ensemble
    from gac_app.services.battles.arena import ArenaService
    from gac_app.services.battles.simulation import simulate as play_on
    from gac_app.services.runs.runs import RunService
    from gac_app.storage import Store

    known = _strengths(strengths)
    config = _simulated(known)
    with TemporaryDirectory(prefix="gac-arena-") as folder:
        store = Store(f"sqlite:///{Path(folder) / 'gac.sqlite3'}")
        runs = RunService(config, store)
        with closing(runs):
            runs.members.use(load_ensemble(config))
            arena = ArenaService(runs, store)
            play_on(arena, known, num_votes=votes, num_visitors=visitors, on_vote=_report(votes))
            board = arena.standings.rated("people", has_flagged=True)
    _show(board, as_json, {name: elo + 1000 - sum(known.values()) / len(known) for name, elo in known.items()})


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
    from gac_app.evaluation.studies import check_room
    from gac_app.evaluation.tasks import asked, first_of_each_domain
    from gac_app.services.battles.reference_votes import reference_battles, system_of
    from gac_app.services.battles.standings import Standings
    from gac_app.services.runs.runs import config_hash_of
    from gac_app.storage import Store

    settled = load(config)
    check_room(settled, parallel)
    contestants = contestants_of(settled)
    protocol, questions = asked(task, data)
    chosen = first_of_each_domain(questions, limit)
    systems = [system_of(one) for one in contestants]
    with evaluating(settled, protocol, questions, parallel=parallel, fresh=False) as ask:
        answers = ask(systems, chosen)
    with closing(Store(database_url(settled), is_owner=False)) as store:
        for number, question in enumerate(chosen):
            given = {system.name: answers[system][number] for system in systems}
            for pair in reference_battles(protocol, question, given, contestants, config_hash_of(settled)):
                store.battles.add_judged(*pair).result()
        board = Standings(store, [one.name for one in contestants], settled.arena.min_votes).rated("reference")
    _show(board, as_json)


def _strengths(text: str) -> dict[str, float]:
    found = named_numbers(text)
    if len(found) < 2:
        raise RequestError("strengths", f"expected at least two contestants, such as a=1100,b=1000; got {text!r}")
    return found


def _simulated(strengths: Mapping[str, float]) -> Config:
    """Random members, each a contestant, with answers of a few tokens."""
    return Config.model_validate(
        {
            "members": [{"name": name, "source": f"random:{seed}"} for seed, name in enumerate(strengths)],
            "settings": {"max_new_tokens": 2},
            "lab": {"is_open": False},
            "arena": {
                "contestants": [{"name": name, "member": name} for name in strengths],
                "max_per_hour": 100_000,
                "min_seconds": 0.0,
            },
        }
    )


def _report(num_votes: int) -> Callable[[int], None]:
    def report(num: int) -> None:
        if num % 100 == 0 or num == num_votes:
            print(f"{num:,} of {num_votes:,} votes", file=sys.stderr, flush=True)

    return report


def _show(board: Leaderboard, as_json: bool, truth: Mapping[str, float] | None = None) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(board)))
        return
    if board.problem:
        typer.echo(board.problem)
    table = Table("rank", "contestant", "rating", "95 %", "votes", *(["true"] if truth else []), box=SIMPLE)
    for line in board.standings:
        is_rated = line.rating is not None
        table.add_row(
            f"{line.rank_low} to {line.rank_high}" if is_rated else "",
            line.name,
            f"{line.rating:.0f}" if is_rated else "",
            f"{line.low:.0f} to {line.high:.0f}" if is_rated else "",
            f"{line.num_votes:,}",
            *([f"{truth[line.name]:.0f}"] if truth else []),
        )
    Console(markup=False, highlight=False).print(table)
