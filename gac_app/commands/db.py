"""`db upgrade` and `db current`: the database's schema."""

from __future__ import annotations

import json

import typer

from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.environment import database_url

app = typer.Typer(help="The database's schema.", no_args_is_help=True)


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
