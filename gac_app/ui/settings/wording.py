"""Settings in one line, for the summary under the prompt and above a stored run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gac_app.decoding.rules import Registry, combine_rules, gate_rules, weight_rules
from gac_app.errors import Phrase, joined
from gac_app.settings import Need, Settings, shown

_READING = {"eager": "reading along", "lazy": "reading when asked"}


def settings_in_words(settings: Settings) -> str:
    """Settings in one line, without those that are off. It names the members if some are."""
    return joined(" · ", _settings(settings))


def _settings(settings: Settings) -> list[str]:
    on = settings.members
    only = [Phrase("only {names}", names=", ".join(on))] if on else []
    if len(on) == 1:
        return [*only, *_sampling(settings)]
    if settings.mode == "gate":
        asking = [Phrase("gate {name}", name=settings.gate), _asked(settings.threshold)]
    elif settings.mode == "agreement":
        asking = [Phrase("{name} while the others agree", name=settings.gate)]
    else:
        asking = [Phrase("every step combined")]
    return [*only, *asking, *_confidence(settings), *_decoding(settings)]


def differences_in_words(settings: Settings, usual: Settings) -> list[str]:
    """What these settings have that the usual ones do not, without mode and threshold."""
    here, there = ([*_confidence(each), *_decoding(each)] for each in (settings, usual))
    asks = settings.mode != "every-step" and settings.gate != usual.gate
    return [
        *([Phrase("gate {name}", name=settings.gate)] if asks else []),
        *(part for part in here if part not in there),
    ]


def _confidence(settings: Settings) -> list[str]:
    """Of a gate: how its confidence is measured, and when the others read."""
    if settings.mode != "gate":
        return []
    parts: list[str] = (
        [] if settings.gate_rule == "max-prob" else [Phrase("confidence: {rule}", rule=_rule(gate_rules, settings))]
    )
    parts += _parts(settings, "confidence")
    return [*parts, *([_READING[settings.gate_policy]] if settings.gate_policy in _READING else [])]


def _decoding(settings: Settings) -> list[str]:
    """All but who is asked."""
    parts = [_weights(settings), Phrase(f"{settings.alignment} alignment")]
    parts += [] if settings.combine == "mean" else [_rule(combine_rules, settings)]
    return [*parts, *_sampling(settings)]


def _sampling(settings: Settings) -> list[str]:
    """What also holds for a member alone."""
    if settings.temperature:
        parts = [
            Phrase("temperature {value}", value=f"{settings.temperature:g}"),
            *_parts(settings, "draw"),
            Phrase("seed {value}", value=settings.seed),
        ]
    else:
        parts = [Phrase("greedy")]
    parts.append(Phrase("up to {count} tokens", count=settings.max_new_tokens))
    if settings.stop:
        parts.append(Phrase("stop strings: {count}", count=len(settings.stop)))
    return [*parts, *_parts(settings, "")]


def beside_in_words(run_id: str, other: Settings, settings: Settings) -> dict[str, Any]:
    """Another run, how it asks, and the differences between its settings and these."""
    others, own = (_settings(each) for each in (other, settings))
    there, here = ([part for part in a if part not in b] for a, b in ((others, own), (own, others)))
    asks = {"mode": other.mode, "gate": other.gate, "threshold": other.threshold}
    return {"run": run_id, **asks, "there": joined(" · ", there), "here": joined(" · ", here)}


def _parts(settings: Settings, need: Need) -> Iterator[str]:
    """The words of the settings with this need that differ from their defaults."""
    for name, field in Settings.model_fields.items():
        how, value = shown(field), getattr(settings, name)
        if how.words and how.need == need and value != field.default:
            yield Phrase(how.words, value=_value(value)) if "{value}" in how.words else Phrase(how.words)


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int) else Phrase(str(value))


def _asked(threshold: float) -> str:
    return (
        Phrase("others always asked")
        if threshold > 1
        else Phrase("others asked below {threshold}", threshold=f"{threshold * 100:.0f} %")
    )


def _weights(settings: Settings) -> str:
    if isinstance(settings.weights, dict):
        on = settings.members or settings.weights
        own = {name: weight for name, weight in settings.weights.items() if name in on}
        listed = [Phrase("{name} {weight}", name=name, weight=f"{weight:g}") for name, weight in own.items()]
        return Phrase("custom weights ({weights})", weights=joined(", ", listed))
    label, *params = _rule_parts(weight_rules, settings)
    told = f"weights {label}" if label.startswith("by ") else f"{label} weights"
    return joined(", ", [Phrase(told), *params])


def _rule(registry: Registry[Any], settings: Settings) -> str:
    """Such as: power mean, exponent 3."""
    return joined(", ", _rule_parts(registry, settings))


def _rule_parts(registry: Registry[Any], settings: Settings) -> list[str]:
    """A rule's label and its parameters. A rule that no longer exists is shown by its name."""
    name = getattr(settings, registry.field)
    if name not in registry:
        return [str(name)]
    rule, params = registry[name], getattr(settings, registry.params_field)
    fields = rule.model_fields
    titles = {key: (fields[key].title if key in fields else None) or key.replace("_", " ") for key in params}
    has_capitals = rule.rule_label[1:] != rule.rule_label[1:].lower()
    label = rule.rule_label if has_capitals else rule.rule_label.lower()
    told = [Phrase("{name} {value}", name=Phrase(titles[key].lower()), value=params[key]) for key in params]
    return [Phrase(label), *told]
