"""`export`: everything that is stored, one run a line."""

from __future__ import annotations

import json
import sys
from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from gac_app.commands.options import ConfigOption, load
from gac_app.environment import database_url


class Format(StrEnum):
    """What can be written."""

    JSONL = "jsonl"


def export(
    file_format: Annotated[Format, typer.Option("--format", help="One JSON object a line.")] = Format.JSONL,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write all stored runs with answers, steps and votes; visitors appear as numbers, never by their keys."""
    from gac_app.storage import Store

    # JSON Lines is the only format yet, so `file_format` has nothing to decide.
    with (
        closing(Store(database_url(load(config)), is_owner=False)) as store,
        _opened(output) if output else nullcontext(sys.stdout) as lines,
    ):
        for run in store.export():
            lines.write(json.dumps(run) + "\n")


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--output") from None
