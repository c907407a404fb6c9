"""`rules`: the combine, gate and weight rules that a configuration can use, plug-ins' too, with their parameters."""

from __future__ import annotations

import json
from typing import Any

import typer
from rich.table import Table

from gac_app.commands.options import ConfigOption, JsonOption, load, plain_console
from gac_app.decoding.rules import REGISTRIES, Rule


def rules(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the combine, gate and weight rules, plug-ins' too, with their parameters."""
    load(config)  # and with it the plug-ins
    if as_json:
        facts = {registry.field: [*map(_facts, registry.values())] for registry in REGISTRIES}
        typer.echo(json.dumps(facts))
        return
    console = plain_console()
    for registry in REGISTRIES:
        table = Table(registry.kind, "what it does", "parameters")
        for name, rule in registry.items():
            table.add_row(name, rule.rule_about, "\n".join(_in_words(rule)))
        console.print(table)


def _facts(rule: type[Rule]) -> dict[str, Any]:
    parameters = rule.model_json_schema().get("properties", {})
    return {"name": rule.rule_name, "label": rule.rule_label, "about": rule.rule_about, "parameters": parameters}


def _in_words(rule: type[Rule]) -> list[str]:
    """Each parameter with its default and bounds, such as "exponent = 2.0 (minimum -20, maximum 20)"."""
    bounds = {
        "minimum": "minimum",
        "exclusiveMinimum": "above",
        "maximum": "maximum",
        "exclusiveMaximum": "below",
        "enum": "one of",
    }
    told = []
    for name, schema in rule.model_json_schema().get("properties", {}).items():
        limits = ", ".join(f"{word} {schema[key]}" for key, word in bounds.items() if key in schema)
        told.append(f"{name} = {schema['default']}" + (f" ({limits})" if limits else ""))
    return told
