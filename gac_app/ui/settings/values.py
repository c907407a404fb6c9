"""The settings panel's values <-> a run's settings, and faults by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from gac_app.config import Config
from gac_app.decoding.rules import REGISTRIES, check_rules
from gac_app.errors import Phrase, RequestError, joined
from gac_app.settings import Settings
from gac_app.ui.settings import stop_lines
from gac_app.ui.settings.fields import OWN_WEIGHTS, REGISTRY_OF, fault_in, fields_of, params_of

_TEXTS = ("stop", "system_prompt")  # texts that may be empty


def values_of(config: Config, settings: Settings) -> dict[str, Any]:
    """Field -> the panel's value for `settings`."""
    names = [field.name for field in fields_of(config) if field.name in Settings.model_fields]
    values: dict[str, Any] = {name: getattr(settings, name) for name in (*names, "gate")}
    values |= _param_values(settings)
    if isinstance(settings.weights, dict):
        values["weights"] = OWN_WEIGHTS
    values["stop"] = stop_lines.to_lines(settings.stop)
    values["members"] = list(settings.members or config.member_names)
    weights = config.weights(settings)
    values["own_weights"] = {name: round(weights[name], 4) for name in config.member_names}
    return values


def changes_from(config: Config, values: object) -> dict[str, Any]:
    """The settings that differ from the defaults.

    Args:
        values: from the browser, not checked yet; at least those that differ from `values_of` the defaults.

    Raises:
        RequestError: values do not fit; names all faulty fields.
    """
    changes, faults = _checked(config, values)
    if len(faults) == 1:
        [(name, fault)] = faults.items()
        label = next(field.label for field in fields_of(config) if field.name == name)
        raise RequestError(name, joined(": ", [label, fault]))
    if faults:
        labels = [Phrase(field.label) for field in fields_of(config) if field.name in faults]
        raise RequestError("settings", Phrase("Correct these settings: {labels}.", labels=joined(", ", labels)))
    return {name: value for name, value in changes.items() if value != getattr(config.settings, name)}


def faults_in(config: Config, values: object) -> dict[str, str]:
    """Faulty fields -> what to correct."""
    try:
        return _checked(config, values)[1]
    except RequestError as error:
        return {error.field: error.message}


def _checked(config: Config, values: object) -> tuple[dict[str, Any], dict[str, str]]:
    """The values as settings, and their faults."""
    defaults = values_of(config, config.settings)
    if not isinstance(values, Mapping) or any(name not in defaults for name in values):
        raise RequestError("settings", Phrase("The settings are not those of this page. Reload it."))
    changes = _as_settings(config, {**defaults, **values})
    faulty = ["members"] if changes["members"] == [] else []
    try:
        Settings.model_validate({**config.settings.model_dump(), **changes})
    except ValidationError as error:
        faulty += [_field_at(".".join(map(str, item["loc"][:2])), changes) for item in error.errors()]
    try:  # check whether the others fit the members
        check_rules(config.settings_from({name: value for name, value in changes.items() if name not in faulty}))
    except RequestError as error:
        faulty.append(_field_at(error.field, changes))
    stands_at = {"gate": "members"}
    if values.get("weights", defaults["weights"]) == OWN_WEIGHTS:
        stands_at["weights"] = "own_weights"
    by_name = {field.name: field for field in fields_of(config)}
    return changes, {name: fault_in(by_name[name]) for name in (stands_at.get(name, name) for name in faulty)}


def _as_settings(config: Config, values: dict[str, Any]) -> dict[str, Any]:
    own, members = values.pop("own_weights"), values["members"]
    if values["weights"] == OWN_WEIGHTS:
        values["weights"] = own
    for name in _TEXTS:
        values[name] = "" if values[name] is None else values[name]
    if isinstance(values["stop"], str):
        values["stop"] = stop_lines.from_lines(values["stop"])
    values |= _params_from(values)
    if isinstance(members, list) and set(map(str, members)) >= set(config.member_names):
        values["members"] = ()  # all members, including future ones
    return values


def _param_values(settings: Settings) -> dict[str, Any]:
    """Field name -> value, for every parameter of every rule."""
    values: dict[str, Any] = {}
    for registry in REGISTRIES:
        chosen, params = getattr(settings, registry.field), getattr(settings, registry.params_field)
        for rule in registry.values():
            given = params if chosen == rule.rule_name else {}
            for field_name, param in params_of(rule, registry).items():
                values[field_name] = _as_choice(given.get(field_name.rpartition(".")[2], param.default))
    return values


def _params_from(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Remove parameters from the panel's values. Returns those of the chosen rules that differ from their defaults."""
    chosen: dict[str, dict[str, Any]] = {registry.params_field: {} for registry in REGISTRIES}
    for field_name in [name for name in values if "." in name]:
        value = values.pop(field_name)
        kind, rule, name = field_name.split(".")
        registry = REGISTRY_OF[kind]
        param = registry.named(rule).model_fields[name]
        value = next((one for one in get_args(param.annotation) if str(one) == value), value)  # of a `Literal`
        if values[kind] == rule and value != _as_choice(param.default):
            chosen[registry.params_field][name] = value
    return chosen


def _as_choice(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _field_at(error_field: str, values: Mapping[str, Any]) -> str:
    """The panel's field of a setting or a part of one: `combine_params.exponent` -> `combine.power.exponent`."""
    for registry in REGISTRIES:
        if error_field.startswith(f"{registry.params_field}."):
            return f"{registry.field}.{values.get(registry.field)}.{error_field.partition('.')[2]}"
    return error_field.partition(".")[0]
