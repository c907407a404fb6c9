"""The fields of the settings panel, made from `Settings` and from the parameters of every rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from gac_app.config import Config
from gac_app.decoding.rules import REGISTRIES, Registry, Rule
from gac_app.errors import Phrase
from gac_app.settings import Group, Need, Settings, shown

OWN_WEIGHTS = "own"
MAIN = ("max_new_tokens", "system_prompt", "mode", "threshold", "temperature")  # the others stand under Research

Kind = Literal["members", "choice", "number", "whole", "share", "weights", "lines", "text"]
Choices = tuple[tuple[str, str], ...]

REGISTRY_OF = {registry.field: registry for registry in REGISTRIES}


@dataclass(frozen=True, slots=True)
class Field:
    """A setting, the members' own weights, or a parameter of a rule.

    Attributes:
        name: of the setting; of a parameter such as `combine.power.exponent`.
        kind: of the input; a share is a number from 0 to 1, shown as 0 to 100 %.
        choices: pairs of value and label.
        always: label of a share above 1, if it is allowed.
        fault: the message for an invalid value, if its bounds do not give one.
        is_of: this field exists only with this value of that setting.
        need: see `gac_app.settings.Shown`.
        bounds: `min` and `max`; with `above`, a number must be greater than `min`.
    """

    name: str
    is_main: bool
    kind: Kind
    label: str
    info: str
    choices: Choices = ()
    always: str = ""
    fault: str = ""
    is_of: tuple[str, str] | None = None
    need: Need = "members"
    bounds: Mapping[str, float] = field(default_factory=dict)


def fields_of(config: Config) -> tuple[Field, ...]:
    """The fields, in the order of the panel."""
    fields = Settings.model_fields
    names = [*MAIN, *(name for group in get_args(Group) for name in fields if shown(fields[name]).group == group)]
    return tuple(one for name in dict.fromkeys(names) for one in _fields_of(config, name, fields[name]))


def _fields_of(config: Config, name: str, info: FieldInfo) -> Iterator[Field]:
    """A setting's field, and those that belong to it."""
    registry = REGISTRY_OF.get(name)
    if registry is None:
        yield _field(name, info)
        return
    choices = _rule_choices(registry)
    if name == "weights":
        has_scores = all(member.score is not None for member in config.members)
        choices = (*(pair for pair in choices if has_scores or pair[0] != "score"), (OWN_WEIGHTS, "Custom"))
    yield _field(name, info, choices)
    if name == "weights":
        yield Field("own_weights", False, "weights", "Custom weights", "Only their proportions matter.")
    for rule in registry.values():
        for param_name, param in params_of(rule, registry).items():
            yield _field(param_name, param, is_of=(name, rule.rule_name))


def _field(name: str, info: FieldInfo, choices: Choices = (), is_of: tuple[str, str] | None = None) -> Field:
    how, choices = shown(info), choices or _choices_of(info)
    label = info.title or name.rpartition(".")[2].replace("_", " ").capitalize()
    kind: Kind = "members" if name == "members" else "choice" if choices else _kind_of(info)
    need = "members" if is_of else how.need
    about = info.description or ""
    return Field(name, name in MAIN, kind, label, about, choices, how.above_one, how.fault, is_of, need, _bounds(info))


def _rule_choices(registry: Registry[Any]) -> Choices:
    """Pairs of a rule's name and label."""
    return tuple(
        (name, f"{rule.rule_label}: {rule.rule_about[0].lower()}{rule.rule_about[1:].rstrip('.')}")
        for name, rule in registry.items()
    )


def params_of(rule: type[Rule], registry: Registry[Any]) -> dict[str, FieldInfo]:
    """The panel's field name, such as `combine.power.exponent` -> the parameter."""
    return {f"{registry.field}.{rule.rule_name}.{name}": param for name, param in rule.model_fields.items()}


def _choices_of(info: FieldInfo) -> Choices:
    """The choices of a boolean, or of a `Literal` of texts."""
    if info.annotation is bool:
        return (("true", "Yes"), ("false", "No"))
    if get_origin(info.annotation) is Literal:
        labels = shown(info).labels or {str(value): str(value).capitalize() for value in get_args(info.annotation)}
        return tuple(labels.items())
    return ()


def _kind_of(info: FieldInfo) -> Kind:
    bounds = _bounds(info)
    if info.annotation is int:
        return "whole"
    if info.annotation is float:
        is_share = bounds.get("min", -1) >= 0 and (bounds.get("max") == 1 or shown(info).above_one)
        return "share" if is_share else "number"
    return "lines" if get_origin(info.annotation) is tuple else "text"


def _bounds(info: FieldInfo) -> dict[str, float]:
    found: dict[str, float] = {}
    for rule in info.metadata:
        for key, bound in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            if isinstance(limit := getattr(rule, key, None), int | float):
                found[bound] = limit
                found |= {"above": 1} if key == "gt" else {}
    return found


def spec_of(config: Config) -> list[dict[str, Any]]:
    """The fields for the panel's script, with their bounds."""
    return [{**asdict(one), **one.bounds} for one in fields_of(config)]


_TYPE_A_NUMBER = {  # by the bounds that are given
    (): "Type {what}.",
    ("most",): "Type {what} of at most {most}.",
    ("least",): "Type {what} of at least {least}.",
    ("above",): "Type {what} above {above}.",
    ("least", "most"): "Type {what} from {least} to {most}.",
    ("above", "most"): "Type {what} above {above}, at most {most}.",
}


def fault_in(field: Field) -> str:
    """What to correct, in one sentence, without the typed text."""
    if field.fault:
        return field.fault
    bounds = field.bounds
    least, most = bounds.get("min"), bounds.get("max")
    match field.kind:
        case "number" | "whole":
            ends = {"above" if "above" in bounds else "least": least, "most": most}
            given = {name: f"{end:,.15g}" for name, end in ends.items() if end is not None and end <= 2**53}
            what = Phrase("a whole number" if field.kind == "whole" else "a number")
            return Phrase(_TYPE_A_NUMBER[tuple(given)], what=what, **given)
        case "share":
            return "Choose 1 to 100 %." if least or "above" in bounds else "Choose 0 to 100 %."
        case "weights":
            return "Type a number of at least 0 for each member; one that takes part needs more than 0."
        case "members":
            return "Leave at least one member on, and choose the gate among those."
        case "choice" | "lines" | "text":
            return "Choose one of these."


def idle_of(config: Config, values: Mapping[str, Any]) -> list[str]:
    """Fields without effect on the next run, which the panel leaves out."""
    unmet, fields = _unmet(values), fields_of(config)
    needs = {"gate": shown(Settings.model_fields["gate"]).need, **{one.name: one.need for one in fields}}
    idle = {name for name, need in needs.items() if need in unmet}
    idle |= {one.name for one in fields if one.is_of and values.get(one.is_of[0]) != one.is_of[1]}
    if values.get("weights") != OWN_WEIGHTS:
        idle.add("own_weights")
    return sorted(idle)


def _unmet(values: Mapping[str, Any]) -> set[Need]:
    """Needs that the panel's values do not meet."""
    mode, threshold = values.get("mode"), values.get("threshold")
    unmet: set[Need] = set()
    if values.get("members") and len(values["members"]) == 1:
        unmet |= {"members", "gate", "threshold", "confidence"}
    elif mode == "every-step":
        unmet |= {"gate", "threshold", "confidence"}
    elif mode == "agreement":
        unmet |= {"threshold", "confidence"}
    elif isinstance(threshold, int | float) and threshold > 1:
        unmet.add("confidence")
    if values.get("temperature") == 0:
        unmet.add("draw")
    return unmet
