"""`bench`: the engine's costs on this machine, as ratios with targets."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gac_app.commands.options import ConfigOption, JsonOption, load, plain_console


def bench(
    config: ConfigOption = None,
    only: Annotated[str | None, typer.Option(help="Comma-separated measurements. A wrong name lists them all.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer prompts and tokens, to check that everything works.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure, and compare with targets. Exits with 1 if one is missed. Other work on the machine disturbs the
    figures.
    """
    from gac_app.bench.comparisons import chosen, measure_all
    from gac_app.bench.machine import machine_facts
    from gac_app.bench.rows import as_table

    load(config)
    measurements = chosen([name.strip() for name in only.split(",")] if only else [])
    machine = machine_facts()
    console = plain_console(stderr=as_json)
    console.print(f"{machine['cpu']}, {machine['usable_cores']} cores, {' '.join(machine['instruction_sets'])}")
    rows = list(measure_all(measurements, config, quick))
    if as_json:
        typer.echo(json.dumps({"machine": machine, "rows": [row.as_json() for row in rows]}))
    else:
        console.print(as_table(rows))
        console.print(f"load {machine['load_average']} at the start")
    if any(row.verdict in ("missed", "failed") for row in rows):
        raise typer.Exit(1)
