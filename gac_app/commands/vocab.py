"""`vocab`: the union vocabulary, and the share that members have in common."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any

import typer
from rich.table import Table

from gac_app.commands.options import ConfigOption, JsonOption, load, plain_console
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
    console = plain_console()
    console.print(table)
    for member in facts["members"]:
        console.print(f"{member['name']} ends with {', '.join(member['end_tokens'])}")
    console.print(f"union: {facts['union_size']:,} tokens, END included; built in {facts['build_s']:.2f} s")


def _facts(config: Config) -> dict[str, Any]:
    from gac_app.loading import load_ensemble
    from gac_app.vocab.mapping import VocabMapping
    from gac_app.vocab.union import UnionVocabulary

    with closing(load_ensemble(config)) as ensemble:
        vocabularies = {name: member.mapping.vocabulary for name, member in ensemble.members.items()}
        started = time.monotonic()
        union = UnionVocabulary.build(vocabularies.values())
        for vocabulary in vocabularies.values():
            VocabMapping(vocabulary, union)
        build_s = time.monotonic() - started
    texts = [vocabulary.texts() for vocabulary in vocabularies.values()]
    num_shared = len(set.intersection(*texts))
    return {
        "union_size": len(union),
        "build_s": round(build_s, 3),
        "members": [
            {
                "name": name,
                "vocab_size": len(vocabulary),
                "num_shared": num_shared,
                "end_tokens": [vocabulary.end_texts.get(own) or f"the id {own}" for own in sorted(vocabulary.end_ids)],
            }
            for name, vocabulary in vocabularies.items()
        ],
        "overlap": [[round(len(own & other) / len(own), 4) for other in texts] for own in texts],
    }
