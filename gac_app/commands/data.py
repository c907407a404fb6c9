"""`export`: all runs and battles, or votes in other formats; `import`: the reverse; `release`: votes for publication;
`db`: the schema.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gac_app.commands.options import ConfigOption, JsonOption, load, writing
from gac_app.environment import database_url
from gac_app.errors import RequestError
from gac_app.services.exports.formats import Format

if TYPE_CHECKING:
    from gac_app.storage import Store


app = typer.Typer(help="The database's schema.", no_args_is_help=True)


def export(
    file_format: Annotated[
        Format,
        typer.Option(
            "--format", help="jsonl: everything, for import. The others: only votes, for trainers, arenas and tables."
        ),
    ] = Format.JSONL,
    source: Annotated[
        Literal["people", "blind", "reference"], typer.Option(help="Whose votes; jsonl has all of them.")
    ] = "people",
    output: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
    config: ConfigOption = None,
) -> None:
    """Write all runs and battles that are over. Visitors appear under pseudonyms, never with their keys."""
    from gac_app.services.mirror.exports import Exports

    with closing(_store(config)) as store:
        exports = Exports(store)
        if file_format is Format.JSONL:
            parts: Iterable[bytes] = (line.encode() for line in exports.lines())
        else:
            from gac_app.arena.outcomes import Origin

            parts = exports.content(file_format, Origin.REFERENCE if source == "reference" else Origin.PEOPLE)
        with (
            writing(output, "--output") if output else nullcontext(),  # a reader may close the pipe
            output.open("wb") if output else nullcontext(sys.stdout.buffer) as out,
        ):
            out.writelines(parts)


def import_lines(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines from `export`.", exists=True, dir_okay=False)],
    config: ConfigOption = None,
) -> None:
    """Import what the database lacks. Importing the same files again changes nothing. Bad lines are named and skipped.

    For a mirror, give all files, oldest first: a file may mark entries of another file as deleted.
    """
    from gac_app.services.mirror.files import import_files

    with closing(_store(config)) as store:
        gc.freeze()  # else collecting takes a quarter of the time
        gc.set_threshold(20_000)
        done = import_files(store, files)
    typer.echo(str(done))
    if done.num_bad:
        raise RequestError("import", f"some lines are bad and were skipped\n{done.reasons}")


def release(
    folder: Annotated[Path, typer.Argument(help="A new folder for the votes and their data card.", file_okay=False)],
    unconsented: Annotated[
        bool, typer.Option("--unconsented", help="With votes of visitors who did not agree.")
    ] = False,
    flagged: Annotated[bool, typer.Option("--flagged", help="With votes that moderation flagged.")] = False,
    equal: Annotated[bool, typer.Option("--equal", help="With votes on two equal answers.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write people's blind votes for publication: those of visitors who agreed, unflagged, under new names."""
    from gac_app.arena.outcomes import Origin
    from gac_app.services.exports.judged import judged
    from gac_app.services.exports.release import CARD, FILE, card_of, release_of

    with closing(_store(config)) as store:
        people = (one for one in store.battles.export() if one.origin == Origin.PEOPLE)
        found = release_of(judged(people), has_unconsented=unconsented, has_flagged=flagged, has_equal=equal)
    with writing(folder, "FOLDER"):
        folder.mkdir(parents=True)
        (folder / FILE).write_text("".join(found.lines()), "utf-8")
        (folder / CARD).write_text(card_of(found), "utf-8")
    left_out = ", ".join(f"{num:,} {why}" for why, num in found.left_out.most_common()) or "none"
    typer.echo(f"{len(found.rows):,} votes in {folder}; left out: {left_out}")


def _store(config: Path | None) -> Store:
    from gac_app.storage import Store

    return Store(database_url(load(config)), server="")


@app.command()
def upgrade(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Upgrade the schema. `serve` also does this at its start."""
    from gac_app import storage

    url = database_url(load(config))
    storage.upgrade(url)
    _print_revision(storage.current_revision(url), as_json)


@app.command()
def current(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the schema's revision."""
    from gac_app import storage

    _print_revision(storage.current_revision(database_url(load(config))), as_json)


def _print_revision(revision: str | None, as_json: bool) -> None:
    typer.echo(json.dumps({"revision": revision}) if as_json else revision or "no schema yet")
