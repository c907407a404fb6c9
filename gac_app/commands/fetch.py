"""`fetch`: the members' files, before they are needed."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.config import Config
from gac_app.environment import cache_dir


def fetch(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Download the members' files into the cache and check them; what is there already is not fetched again."""
    paths = _fetch(load(config))
    if as_json:
        typer.echo(json.dumps(paths))


def _fetch(config: Config) -> dict[str, str]:
    """Member name -> path, showing bars on stderr."""
    from gac_app.models import sources

    paths = {}
    unreachable: set[str] = set()
    # Names and notices come from a config: they are text, not rich's markup.
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True, markup=False, highlight=False)) as bars:
        for member in config.members:
            if member.is_random:
                continue  # made from a seed, not from files
            bar = bars.add_task(member.name, total=None)

            def show(progress: sources.Progress, bar: TaskID = bar) -> None:
                bars.update(bar, completed=progress.num_bytes, total=progress.total_bytes)

            path = sources.resolve(member, cache_dir(config), show, unreachable).path
            size = _size_bytes(path)
            bars.update(bar, completed=size, total=size)
            if member.notice:
                bars.console.print(f"{member.name}: {member.notice}")
            paths[member.name] = str(path)
    return paths


def _size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
