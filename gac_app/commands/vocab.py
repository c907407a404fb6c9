"""`vocab`: the union vocabulary, and the share that members have in common."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.config import Config


def vocab(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Unite the members' vocabularies and report sizes and overlap."""
    facts = _facts(load(config))
    if as_json:
        typer.echo(json.dumps(facts))
        return
    names = [member["name"] for member in facts["members"]]
    table = Table("member", "tokens", "shared by all", *(f"in {name}" for name in names))
    for member, row in zip(facts["members"], facts["overlap"], strict=True):
        shares = (f"{share:.1%}" for share in row)
        table.add_row(member["name"], f"{member['vocab_size']:,}", f"{member['num_shared']:,}", *shares)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for member in facts["members"]:
        console.print(f"{member['name']} ends with {', '.join(member['end_tokens'])}")
    console.print(f"union: {facts['union_size']:,} tokens, END included; built in {facts['build_s']:.2f} s")


def _facts(config: Config) -> dict[str, Any]:
    from gac_app.loading import load_ensemble
    from gac_app.vocab.mapping import VocabMapping
    from gac_app.vocab.report import report
    from gac_app.vocab.union import UnionVocabulary

    with closing(load_ensemble(config)) as ensemble:
        vocabularies = [member.mapping.vocabulary for member in ensemble.members.values()]
        started = time.monotonic()
        union = UnionVocabulary.build(vocabularies)
        for vocabulary in vocabularies:
            VocabMapping(vocabulary, union)
        build_s = time.monotonic() - started
        found = report(vocabularies)
    ends = [[v.end_texts.get(own) or f"the id {own}" for own in sorted(v.end_ids)] for v in vocabularies]
    return {
        "union_size": len(union),
        "build_s": round(build_s, 3),
        "members": [
            {"name": name, "vocab_size": size, "num_shared": num_shared, "end_tokens": end_tokens}
            for name, size, num_shared, end_tokens in zip(
                config.member_names, found.sizes, found.num_shared, ends, strict=True
            )
        ],
        "overlap": [[round(share, 4) for share in row] for row in found.overlap],
    }
