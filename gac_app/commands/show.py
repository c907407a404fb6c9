"""Prints and stores the result of a study, and writes its charts."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.table import Table

from gac_app.charts import to_png, to_svg
from gac_app.commands.options import plain_console, writing
from gac_app.config import Config
from gac_app.environment import evaluation_dir
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.studies import KeptResults, StudyResult


def show(result: StudyResult, config: Config, *, as_json: bool, out: Path | None = None) -> None:
    """Print a result, store it for the page's Lab, and write its charts to `out`.

    Raises:
        RequestError: a chart is asked for and there is none.
        GacError: answers failed; raised after the rest.
    """
    typer.echo(json.dumps(result.data)) if as_json else _print(result)
    KeptResults(evaluation_dir(config) / "results").keep(result, config.member_names)
    if out:
        if not result.plots:
            raise RequestError("out", "there is no chart of this")
        with writing(out):
            out.write_bytes(to_png(result.plots) if out.suffix == ".png" else to_svg(result.plots).encode())
    if result.failure:
        raise GacError(result.failure)


def _print(result: StudyResult) -> None:
    """Print without breaking rows, even in a narrow terminal or without one."""
    console = plain_console()
    tables = [Table(*one.columns, box=SIMPLE, title=one.title or None, title_justify="left") for one in result.tables]
    for table, told in zip(tables, result.tables, strict=True):
        for row in told.rows:
            table.add_row(*row)
    at_least = [console.measure(table, options=console.options.update(max_width=1000)).maximum for table in tables]
    console.width = max(console.width, *at_least)
    console.print(result.heading)
    for table in tables:
        console.print(table)
    for remark in result.remarks:
        console.print(remark)
    if result.settings:
        console.print(f"\n{result.settings}", soft_wrap=True)
