"""The settings panel's fields for rules: a choice for each kind, and every rule's parameters, from its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from gac_app.decoding.rules import REGISTRIES, Entry, Registry
from gac_app.settings import Settings

ParamKind = Literal["choice", "number", "whole", "share", "text"]

_BY_FIELD = {registry.field: registry for registry in REGISTRIES}


def rule_choices(registry: Registry[Any]) -> tuple[tuple[str, str], ...]:
    """Pairs of a rule's name and label."""
    return tuple(
        (entry.name, f"{entry.label}: {entry.about[0].lower()}{entry.about[1:].rstrip('.')}") for entry in registry
    )


def params_of(entry: Entry[Any], registry: Registry[Any]) -> dict[str, FieldInfo]:
    """The panel's field name, such as `combine.power.exponent` -> the parameter."""
    return {f"{registry.field}.{entry.name}.{name}": param for name, param in entry.rule.model_fields.items()}


def param_of(field_name: str) -> FieldInfo | None:
    """The parameter of a panel's field; None if the field is not a parameter."""
    kind, rule, param = (*field_name.split("."), "", "")[:3]
    registry = _BY_FIELD.get(kind)
    return registry.entry(rule).rule.model_fields.get(param) if registry and rule in registry else None


def kind_of(param: FieldInfo) -> ParamKind:
    """The kind of field for a parameter; a share is a number from 0 to 1."""
    if choices_of(param):
        return "choice"
    if param.annotation is int:
        return "whole"
    if param.annotation is float:
        found = [getattr(rule, key, None) for rule in param.metadata for key in ("ge", "gt", "le")]
        limits = [limit for limit in found if limit is not None]
        return "share" if limits and min(limits) >= 0 and max(limits) == 1 else "number"
    return "text"


def choices_of(param: FieldInfo) -> tuple[tuple[str, str], ...]:
    """The choices of a boolean, or of a `Literal` of texts."""
    if param.annotation is bool:
        return (("true", "Yes"), ("false", "No"))
    if get_origin(param.annotation) is Literal:
        return tuple((str(value), str(value).capitalize()) for value in get_args(param.annotation))
    return ()


def param_values(settings: Settings) -> dict[str, Any]:
    """Field name -> value, for every parameter of every rule."""
    values: dict[str, Any] = {}
    for registry in REGISTRIES:
        chosen, params = getattr(settings, registry.field), getattr(settings, registry.params_field)
        for entry in registry:
            given = params if chosen == entry.name else {}
            for field_name, param in params_of(entry, registry).items():
                values[field_name] = _shown(given.get(field_name.rpartition(".")[2], param.default))
    return values


def params_from(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Remove parameters from the panel's values. Returns those of the chosen rules that differ from their defaults."""
    chosen: dict[str, dict[str, Any]] = {registry.params_field: {} for registry in REGISTRIES}
    for field_name in [name for name in values if "." in name]:
        value, param = values.pop(field_name), param_of(field_name)
        kind, rule, name = field_name.split(".")
        if param and values.get(kind) == rule and value != _shown(param.default):
            chosen[_BY_FIELD[kind].params_field][name] = value
    return chosen


def _shown(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def field_at(error_field: str, values: Mapping[str, Any]) -> str:
    """The panel's field of a RequestError: `combine_params.exponent` -> `combine.power.exponent`."""
    for registry in REGISTRIES:
        if error_field.startswith(f"{registry.params_field}."):
            return f"{registry.field}.{values.get(registry.field)}.{error_field.partition('.')[2]}"
    return error_field


def idle_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters of rules that are not chosen -> why they have no effect."""
    return {
        field_name: f"Without effect: choose “{entry.label}” first."
        for registry in REGISTRIES
        for entry in registry
        if values.get(registry.field) != entry.name
        for field_name in params_of(entry, registry)
    }
