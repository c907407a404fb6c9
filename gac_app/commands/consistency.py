"""`consistency`: whether the members cut the same words into the same tokens (paper, figure 2, and beyond)."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from gac_app.commands.options import ConfigOption, JsonOption, load, write_file
from gac_app.config import Config
from gac_app.errors import ConfigError

if TYPE_CHECKING:
    from gac_app.evaluation.consistency import ConsistencyReport


def consistency(
    config: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the heat map here (SVG).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare how the members cut words into tokens: 5,000 common English ones, then rare and foreign ones, code,
    numbers and terms."""
    report = _report(load(config))
    if as_json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _print(report)
    if out:
        from gac_app.evaluation.consistency_heatmap import heat_map

        write_file(out, heat_map(report))


def _print(report: ConsistencyReport) -> None:
    console = Console(markup=False, highlight=False)
    console.print(_sets_table(report))
    console.print(_tokens_table(report))
    for name, facts in report.tokens.items():
        console.print(f"only {name} has, for example: {' '.join(map(_shown, facts.examples))}")


def _shown(token: bytes) -> str:
    """Quoted, with escapes for what is no UTF-8 or would move the cursor."""
    return repr(token.decode(errors="surrogateescape"))


def _report(config: Config) -> ConsistencyReport:
    if len(config.members) < 2:
        raise ConfigError("members: there is one; expected two or more, to compare")
    from gac_app.bootstrap import load_ensemble
    from gac_app.evaluation.consistency import compare_vocabularies
    from gac_app.evaluation.consistency_words import word_sets

    with closing(load_ensemble(config)) as ensemble:
        vocabularies = {name: member.mapping.vocabulary for name, member in ensemble.members.items()}
        return compare_vocabularies(vocabularies, word_sets())


def _sets_table(report: ConsistencyReport) -> Table:
    table = Table(Column("words", no_wrap=True), "number", title="share of words cut into the same tokens")
    for pair in report.sets[0].pairs:
        table.add_column(" / ".join(pair.members) + "\nafter a space", justify="right", overflow="fold")
        table.add_column("\nat start", justify="right")
    for name in report.tokens:
        table.add_column(f"tokens per word\n{name}", justify="right", overflow="fold")
    for words in report.sets:
        shares = [f"{share:.1%}" for pair in words.pairs for share in (pair.after_space, pair.at_start)]
        means = [f"{mean:.2f}" for mean in words.tokens_per_word.values()]
        table.add_row(words.name, f"{words.num_words:,}", *shares, *means)
    return table


def _tokens_table(report: ConsistencyReport) -> Table:
    table = Table(
        Column("member", overflow="fold"),
        "tokens",
        "only its own",
        Column("another", overflow="fold"),
        "begin a token of it",
        "of these it lacks",
    )
    for name, facts in report.tokens.items():
        for other, prefixes in facts.prefixes.items():
            counts = (facts.num_tokens, facts.num_only)
            table.add_row(
                name,
                *(f"{count:,}" for count in counts),
                other,
                f"{prefixes.num_tokens:,}",
                f"{prefixes.num_unknown:,}",
            )
    return table
