"""`export`: all runs and battles, or votes in other formats; `import`: the reverse."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gac_app.arena.exports.formats import Format
from gac_app.commands.options import ConfigOption, load
from gac_app.environment import database_url
from gac_app.errors import RequestError

if TYPE_CHECKING:
    from gac_app.storage import Store


class Source(StrEnum):
    """Whose votes."""

    PEOPLE = "people"
    BLIND = "blind"
    REFERENCE = "reference"


FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        help="jsonl: everything, for import. The others: only votes, for trainers, arenas and tables.",
    ),
]


def export(
    file_format: FormatOption = Format.JSONL,
    source: Annotated[Source, typer.Option(help="Whose votes; jsonl has all of them.")] = Source.PEOPLE,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write all stored data. Visitors appear under pseudonyms, never with their keys."""
    from gac_app.services.mirror.exports import Exports

    with closing(_store(config)) as store:
        exports = Exports(store)
        if file_format is Format.JSONL:
            parts: Iterable[bytes] = (line.encode() for line in exports.lines())
        else:
            from gac_app.arena.rating.votes import SOURCES

            parts = [exports.content(file_format, SOURCES[source.value])]
        try:
            with output.open("wb") if output else nullcontext(sys.stdout.buffer) as out:
                for part in parts:
                    out.write(part)
        except OSError as error:
            if output is None:  # the reader has closed the pipe
                raise
            raise typer.BadParameter(f"{output}: {error.strerror}", param_hint="--output") from None


def import_lines(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines from `export`.", exists=True, dir_okay=False)],
    config: ConfigOption = None,
) -> None:
    """Import what the database lacks. Importing the same files again changes nothing. Bad lines are named and skipped.

    For a mirror, give all files, oldest first: a file may mark entries of another file as deleted.
    """
    from gac_app.services.mirror.exports import Exports
    from gac_app.services.mirror.files import import_files

    with closing(_store(config)) as store:
        done = import_files(Exports(store), files)
    typer.echo(str(done))
    if done.num_bad:
        raise RequestError("import", f"some lines are bad and were skipped\n{done.reasons}")


def _store(config: Path | None) -> Store:
    from gac_app.storage import Store

    return Store(database_url(load(config)), is_owner=False)
