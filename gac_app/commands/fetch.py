"""`fetch`: downloads the members' files in advance, and makes what is derived from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from gac_app.commands.options import ConfigOption, JsonOption, load, plain_console
from gac_app.config import Config
from gac_app.environment import cache_dir
from gac_app.server.logs import StateLog
from gac_app.services.members import Members

if TYPE_CHECKING:  # numpy loads with it
    from gac_app.models.sources import ModelFiles


def fetch(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Download the members' files into the cache, check them, and try onnxruntime with them, so that the first start is
    like later ones. What is in the cache is not fetched or tried again.
    """
    checked = load(config)
    files = _fetch(checked)
    from gac_app.models.factory import prepare
    from gac_app.models.hardware import detect_devices, plan

    placements = plan(checked.members, detect_devices()).placements
    for name, found in files.items():
        prepare(checked.member(name), found, placements[name].device, cache_dir(checked))
    if as_json:
        typer.echo(json.dumps({name: str(found.path) for name, found in files.items()}))


def _fetch(config: Config) -> dict[str, ModelFiles]:
    """Files by member name. Shows bars on stderr, or lines if that is no terminal."""
    from gac_app.models import sources

    found: dict[str, ModelFiles] = {}
    unreachable: set[str] = set()
    members, log = Members(config), StateLog()
    console = plain_console(stderr=True)
    # Names and notices come from a config, so they must not be taken for rich's markup.
    columns = [TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[words]}")]
    with Progress(columns[0], BarColumn(), columns[1], console=console) as bars:
        for member in config.members:
            if member.is_random or member.of:
                continue  # random models have no files, views none of their own
            bar = bars.add_task(member.name, total=None, words="")

            def show(progress: sources.Progress, name: str = member.name, bar: TaskID = bar) -> None:
                members.set_fetching(name, progress)
                state = members.of(name)
                bars.update(bar, completed=progress.num_bytes, total=progress.total_bytes, words=state.words)
                if not bars.console.is_terminal:
                    log.log(state)

            found[member.name] = sources.resolve(member, cache_dir(config), show, unreachable)
            size = _size_bytes(found[member.name].path)
            bars.update(bar, completed=size, total=size, words=decimal(size))
            if member.notice:
                bars.console.print(f"{member.name}: {member.notice}")
    return found


def _size_bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
