"""`release`: the arena's votes for publication, with a data card."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from gac_app.commands.options import ConfigOption, load
from gac_app.environment import database_url


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
    from gac_app.arena.exports.judged import judged
    from gac_app.arena.exports.release import CARD, FILE, card_of, release_of
    from gac_app.arena.outcomes import Origin
    from gac_app.services.battles.battles import UNDO_S
    from gac_app.services.battles.history import UNDO_WRITTEN_S
    from gac_app.storage import Store

    with closing(Store(database_url(load(config)), is_owner=False)) as store:
        untold = store.battles.held_elsewhere(UNDO_S + UNDO_WRITTEN_S)  # by servers
        people = (one for one in store.battles.export() if one.origin == Origin.PEOPLE)
        battles = (one for one in people if one.battle_id not in untold)
        found = release_of(judged(battles), has_unconsented=unconsented, has_flagged=flagged, has_equal=equal)
    try:
        folder.mkdir(parents=True)
        (folder / FILE).write_text("".join(found.lines()), "utf-8")
        (folder / CARD).write_text(card_of(found), "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{folder}: {error.strerror}", param_hint="FOLDER") from None
    left_out = ", ".join(f"{num:,} {why}" for why, num in found.left_out.most_common()) or "none"
    typer.echo(f"{len(found.rows):,} votes in {folder}; left out: {left_out}")
