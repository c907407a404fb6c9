"""The fields of the settings panel: label, kind, place, and when each has no effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gac_app.config import Config
from gac_app.decoding.rules import Registry, combine_rules, gate_rules, weight_rules
from gac_app.settings import Settings
from gac_app.ui.settings.rule_fields import choices_of, idle_params, kind_of, param_of, params_of, rule_choices

OWN_WEIGHTS = "own"

Group = Literal["Ensemble", "Sampling", "Advanced"]
Kind = Literal["members", "choice", "number", "whole", "share", "weights", "lines", "text"]


@dataclass(frozen=True, slots=True)
class Field:
    """A setting, or the members' own weights.

    Attributes:
        kind: of the input; a share is a number from 0 to 1, shown as 0 to 100 %.
        choices: pairs of value and label.
        always: label of a share above 1, if it is allowed.
        fault: the message for an invalid value, if its bounds do not give one.
        is_of: this field exists only with this value of that setting.
    """

    name: str
    group: Group
    kind: Kind
    label: str
    info: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    always: str = ""
    fault: str = ""
    is_of: tuple[str, str] | None = None


def fields_of(config: Config) -> tuple[Field, ...]:
    """The fields, in the order of the panel."""
    has_scores = all(member.score is not None for member in config.members)
    weights = (*(pair for pair in rule_choices(weight_rules) if has_scores or pair[0] != "score"), (OWN_WEIGHTS, "Own"))
    return (
        Field("members", "Ensemble", "members", "Members", "Switch one off to leave it out of the next run."),
        Field("mode", "Ensemble", "choice", "When the members are asked", choices=(
            ("gate", "Gate: only where it is unsure"), ("every-step", "Every step"),
            ("agreement", "Where they disagree"),
        )),
        Field("threshold", "Ensemble", "share", "Threshold",
              "Below this confidence of the gate, the others are asked.", always="always"),
        Field("weights", "Ensemble", "choice", "Weights", choices=weights),
        Field("own_weights", "Ensemble", "weights", "Own weights", "Only their proportions matter."),
        *_params_of(weight_rules, "Ensemble"),
        Field("combine", "Ensemble", "choice", "Combine rule", choices=rule_choices(combine_rules)),
        *_params_of(combine_rules, "Ensemble"),
        Field("temperature", "Sampling", "number", "Temperature",
              "At 0 the likeliest token is always taken (greedy). Above 0 tokens are drawn at random.",
              fault="Type 0, or a number from 0.01 to 5."),
        Field("top_p", "Sampling", "share", "Top-p",
              "Draws from the likeliest tokens that add up to this. 100 % is off."),
        Field("top_k", "Sampling", "whole", "Top-k", "Draws from this many of the likeliest tokens. 0 is off."),
        Field("min_p", "Sampling", "share", "Min-p",
              "Leaves out tokens with less than this share of the likeliest one's probability. 0 % is off."),
        Field("repetition_penalty", "Sampling", "number", "Repetition penalty",
              "Makes tokens less likely that came before. 1 is off."),
        Field("seed", "Sampling", "whole", "Seed", "The same seed draws the same answer."),
        Field("max_new_tokens", "Sampling", "whole", "Longest answer, in tokens"),
        Field("system_prompt", "Advanced", "text", "System prompt", "Every member reads it before the conversation."),
        Field("stop", "Advanced", "lines", "Stop strings", "One a line. Each ends the answer. \\n is a line break."),
        Field("gate_rule", "Advanced", "choice", "Gate rule", choices=rule_choices(gate_rules)),
        *_params_of(gate_rules, "Advanced"),
        Field("gate_temperature", "Advanced", "number", "Gate temperature",
              "Above 1 makes an overconfident gate less sure. 1 takes it as it is."),
        Field("gate_policy", "Advanced", "choice", "When the others read what the gate wrote",
              "The answer is the same.", choices=(
            ("auto", "Auto: along with the gate while nobody else needs them"),
            ("lazy", "Lazy: when they are asked, which computes least"),
            ("eager", "Eager: always along with the gate"),
        )),
        Field("alignment", "Advanced", "choice", "Alignment",
              "How members agree that cut the same text into different tokens.", choices=(
            ("prefix", "Prefix: a longer token also counts for its beginning"),
            ("paper", "Paper: only equal tokens count together"),
        )),
        Field("reproducible", "Advanced", "choice", "Reproducible",
              "The same answer to the last bit, whatever else runs.", choices=(
            ("auto", "Auto: where that costs nothing"), ("on", "On"), ("off", "Off"),
        )),
    )  # fmt: skip


def _params_of(registry: Registry[Any], group: Group) -> Iterator[Field]:
    for entry in registry:
        for name, param in params_of(entry, registry).items():
            label, info = param.title or name.rpartition(".")[2].replace("_", " ").capitalize(), param.description or ""
            is_of = (registry.field, entry.name)
            yield Field(name, group, kind_of(param), label, info, choices=choices_of(param), is_of=is_of)


def spec_of(config: Config) -> list[dict[str, Any]]:
    """The fields for the panel's script, with their bounds."""
    return [{**asdict(field), **_bounds(field.name)} for field in fields_of(config)]


def fault_in(field: Field) -> str:
    """What to correct, in one sentence, without the typed text."""
    if field.fault:
        return field.fault
    bounds = _bounds(field.name)
    least, most = bounds.get("min"), bounds.get("max")
    match field.kind:
        case "number" | "whole":
            kind = "a whole number" if field.kind == "whole" else "a number"
            if most is None or most > 2**53:
                return f"Type {kind} of at least {least:,.0f}."
            limits = f"above {least:,.0f}, and at most" if "above" in bounds else f"from {least:,.0f} to"
            return f"Type {kind} {limits} {most:,.0f}."
        case "share":
            return "Choose 1 to 100 %." if least or "above" in bounds else "Choose 0 to 100 %."
        case "lines":
            return "Type at most 16 stop strings of at most 200 characters each."
        case "text":
            return "Type at most 20,000 characters."
        case "weights":
            return "Type a number of at least 0 for each member; one that takes part needs more than 0."
        case "members":
            return "Leave at least one member on, and choose the gate among those."
        case "choice":
            return "Choose one of these."


def idle_of(config: Config, values: Mapping[str, Any]) -> dict[str, str]:
    """Fields without effect on the next run -> why."""
    mode, threshold = values.get("mode"), values.get("threshold")
    if values.get("members") and len(values["members"]) == 1:
        alone = "Only one member takes part."
        names = ("mode", "gate", "threshold", "weights", "own_weights", "combine", "gate_rule", "gate_temperature",
                 "gate_policy", "alignment")  # fmt: skip
        idle = dict.fromkeys((*names, *(field.name for field in fields_of(config) if field.is_of)), alone)
    else:
        idle = {}
        if mode == "every-step":
            every = "Without effect: all members are asked at every step."
            idle |= dict.fromkeys(("gate", "threshold", "gate_rule", "gate_temperature", "gate_policy"), every)
        elif mode == "agreement":
            idle |= dict.fromkeys(
                ("threshold", "gate_rule", "gate_temperature", "gate_policy"),
                "Without effect: all members are always asked.",
            )
        elif isinstance(threshold, int | float) and threshold > 1:
            always = "Without effect: the threshold is “always”."
            idle |= dict.fromkeys(("gate_rule", "gate_temperature", "gate_policy"), always)
        if values.get("weights") != OWN_WEIGHTS:
            idle["own_weights"] = "Without effect: choose “Own” weights first."
        idle |= idle_params(values)
    if values.get("temperature") == 0:
        greedy = "Without effect: temperature 0 takes the likeliest token."
        idle |= dict.fromkeys(("top_p", "top_k", "min_p", "seed"), greedy)
    return idle


def _bounds(name: str) -> dict[str, float]:
    """Bounds of a number: `min` and `max`; with `above`, it must be greater than `min`."""
    found: dict[str, float] = {}
    field = Settings.model_fields.get(name) or param_of(name)
    for rule in field.metadata if field else ():
        for key, bound in (("ge", "min"), ("gt", "min"), ("le", "max"), ("lt", "max")):
            if isinstance(limit := getattr(rule, key, None), int | float):
                found[bound] = limit
                found |= {"above": 1} if key == "gt" else {}
    return found
