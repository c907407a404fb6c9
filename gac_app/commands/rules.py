"""`rules`: the combine, gate and weight rules that a configuration can use, plug-ins' too, with their parameters."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from gac_app.commands.options import ConfigOption, JsonOption, load
from gac_app.decoding.rules import REGISTRIES, Entry


def rules(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the combine, gate and weight rules, plug-ins' too, with their parameters."""
    load(config)  # and with it the plug-ins
    if as_json:
        facts = {registry.field: [_facts(entry) for entry in registry] for registry in REGISTRIES}
        typer.echo(json.dumps(facts))
        return
    console = Console(markup=False, highlight=False)
    for registry in REGISTRIES:
        table = Table(registry.kind, "what it does", "parameters")
        for entry in registry:
            table.add_row(entry.name, entry.about, "\n".join(_in_words(entry)))
        console.print(table)


def _facts(entry: Entry[Any]) -> dict[str, Any]:
    parameters = entry.rule.model_json_schema().get("properties", {})
    return {"name": entry.name, "label": entry.label, "about": entry.about, "parameters": parameters}


def _in_words(entry: Entry[Any]) -> list[str]:
    """Each parameter with its default and bounds, such as "exponent = 2.0 (minimum -20, maximum 20)"."""
    bounds = {
        "minimum": "minimum",
        "exclusiveMinimum": "above",
        "maximum": "maximum",
        "exclusiveMaximum": "below",
        "enum": "one of",
    }
    told = []
    for name, schema in entry.rule.model_json_schema().get("properties", {}).items():
        limits = ", ".join(f"{word} {schema[key]}" for key, word in bounds.items() if key in schema)
        told.append(f"{name} = {schema['default']}" + (f" ({limits})" if limits else ""))
    return told
