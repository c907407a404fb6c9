"""`plan`: how many servers so many visitors need, and how long they wait."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.commands.setting_options import named_numbers
from gac_app.environment import config_path

if TYPE_CHECKING:
    from pathlib import Path

    from gac_app.bench.plan import Costs
    from gac_app.config import Config


def plan(
    visitors: Annotated[str, typer.Option(help="Numbers of visitors who are there at once.")] = "1,10,1000,1000000",
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of an answer.")] = 128,
    think: Annotated[float, typer.Option(min=0, help="Mean seconds from an answer's end to the next question.")] = 60.0,
    first_token: Annotated[float, typer.Option(help="Seconds within which 95 % shall see a first token.")] = 5.0,
    steps: Annotated[
        str,
        typer.Option(
            help='Instead of measuring: ms of a step by runs at once, to the most there may be, as "1=25,8=60".'
        ),
    ] = "",
    prompt_ms: Annotated[float, typer.Option(min=0, help="With --steps: milliseconds until a first token.")] = 200.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate visitors of the page: servers needed, tokens per second, time to the first token. Step costs are
    measured on the loaded members, unless given.
    """
    from gac_app.bench.plan import Load, num_servers, simulated

    numbers = _numbers(visitors)
    settled = load(config)
    costs = _given(steps, prompt_ms) if steps else _measured(config_path(config, os.environ), settled)
    at_once = max(costs.step_s) if steps else settled.server.max_running
    rows = []
    for number in numbers:
        servers = num_servers(costs, Load(number, tokens, think), at_once, first_token)
        share = Load(-(-number // servers), tokens, think)
        found = simulated(costs, share, at_once)
        rows.append({"visitors": number, "servers": servers, "visitors_each": share.num_visitors, **asdict(found)})
    if as_json:
        typer.echo(json.dumps({"prompt_s": costs.prompt_s, "step_s": costs.step_s, "rows": rows}))
        return
    console = Console(markup=False, highlight=False)
    told = ", ".join(f"{size} at once {1000 * seconds:.1f} ms" for size, seconds in sorted(costs.step_s.items()))
    console.print(f"first token {1000 * costs.prompt_s:.0f} ms; a step of {told}; at most {at_once} runs at once")
    table = Table("visitors", "servers", "visitors each", "tokens/s each", "first token p50", "p95")
    for row in rows:
        times = (f"{row['p50_s']:.2f} s", f"{row['p95_s']:.2f} s")
        counts = (f"{row[name]:,}" for name in ("visitors", "servers", "visitors_each"))
        table.add_row(*counts, f"{row['tokens_per_s']:.1f}", *times)
    console.print(table)


def _numbers(text: str) -> list[int]:
    numbers = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if not all(0 < number <= 10**9 for number in numbers):
        raise typer.BadParameter("expected whole numbers of at least 1, such as 1,10,1000", param_hint="--visitors")
    return numbers


def _given(text: str, prompt_ms: float) -> Costs:
    from gac_app.bench.plan import Costs

    try:
        step_s = {int(size): ms / 1000 for size, ms in named_numbers(text).items()}
    except ValueError:
        step_s = {}
    if not step_s or min(step_s) < 1 or not all(0 < seconds < 1000 for seconds in step_s.values()):
        raise typer.BadParameter('expected runs at once and milliseconds, such as "1=25,8=60"', param_hint="--steps")
    return Costs(prompt_ms / 1000, step_s)


def _measured(path: Path, settled: Config) -> Costs:
    from gac_app.bench.plan import measured
    from gac_app.bench.workbench import Workbench

    most = settled.server.max_running
    sizes = [size for size in (2, 4, 8, 16, 32, 64, 128) if size < most]
    with closing(Workbench(path, settled)) as bench:
        return measured(bench, [*sizes, *([most] if most > 1 else [])], num_tokens=32)
