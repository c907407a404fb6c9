"""Texts about settings, under the prompt and above a stored run, and about repeated runs."""

from __future__ import annotations

import math
from typing import Any

from gac_app.decoding.rules import Registry, combine_rules, gate_rules, weight_rules
from gac_app.services.runs.comparison import Comparison
from gac_app.settings import Settings
from gac_app.ui.compare.spelling import label_of

_SAME = "same text as the run before"
_READING = {"eager": "reading along", "lazy": "reading when asked"}


def settings_in_words(settings: Settings) -> str:
    """Settings in one line, without those that are off."""
    if settings.mode == "gate":
        parts = [f"gate {settings.gate}", _asked(settings.threshold)]
        parts += [] if settings.gate_rule == "max-prob" else [f"confidence: {_rule(gate_rules, settings)}"]
        parts += [f"gate temperature {settings.gate_temperature:g}"] if settings.gate_temperature != 1 else []
        parts += [_READING[settings.gate_policy]] if settings.gate_policy in _READING else []
    elif settings.mode == "agreement":
        parts = [f"{settings.gate} while the others agree"]
    else:
        parts = ["every step combined"]
    parts += [_weights(settings), f"{settings.alignment} alignment"]
    parts += [] if settings.combine == "mean" else [_rule(combine_rules, settings)]
    parts += _sampling(settings)
    parts.append(f"up to {settings.max_new_tokens} tokens")
    if settings.stop:
        parts.append("1 stop string" if len(settings.stop) == 1 else f"{len(settings.stop)} stop strings")
    if settings.system_prompt:
        parts.append("system prompt")
    if settings.reproducible != "auto":
        parts.append(f"reproducible {settings.reproducible}")
    return " · ".join(parts)


def _asked(threshold: float) -> str:
    return "others always asked" if threshold > 1 else f"others asked below {threshold * 100:.0f} %"


def beside_in_words(run_id: str, other: Settings, settings: Settings) -> dict[str, str]:
    """Another run, and the differences between its settings and these."""
    others, own = (settings_in_words(each).split(" · ") for each in (other, settings))
    there, here = ([part for part in a if part not in b] for a, b in ((others, own), (own, others)))
    return {"run": run_id, "there": " · ".join(there), "here": " · ".join(here)}


def _weights(settings: Settings) -> str:
    if isinstance(settings.weights, dict):
        return f"own weights ({', '.join(f'{name} {weight:g}' for name, weight in settings.weights.items())})"
    name, comma, params = _rule(weight_rules, settings).partition(",")
    return (f"weights {name}" if name.startswith("by ") else f"{name} weights") + comma + params


def _rule(registry: Registry[Any], settings: Settings) -> str:
    """Such as: power mean, exponent 3. A rule that no longer exists is shown by its name."""
    name = getattr(settings, registry.field)
    if name not in registry:
        return str(name)
    entry, params = registry.entry(name), getattr(settings, registry.params_field)
    fields = entry.rule.model_fields
    titles = {key: (fields[key].title if key in fields else None) or key.replace("_", " ") for key in params}
    has_capitals = entry.label[1:] != entry.label[1:].lower()
    label = entry.label if has_capitals else entry.label.lower()
    return ", ".join([label, *(f"{titles[key].lower()} {value}" for key, value in params.items())])


def _sampling(settings: Settings) -> list[str]:
    parts = [f"temperature {settings.temperature:g}" if settings.temperature else "greedy"]
    if settings.temperature:
        filters = (("top-k", settings.top_k, 0), ("top-p", settings.top_p, 1), ("min-p", settings.min_p, 0))
        parts += [f"{name} {value:g}" for name, value, off in filters if value != off]
        parts.append(f"seed {settings.seed}")
    if settings.repetition_penalty != 1:
        parts.append(f"repetition penalty {settings.repetition_penalty:g}")
    return parts


def comparison_in_words(comparison: Comparison) -> str:
    """Such as: same text as the run before, probabilities differ from token 5 on, by at most 0.0003."""
    if comparison.digests == "equal":
        return "identical to the run before"
    if comparison.tokens is not None:
        return _parting_in_words(comparison.num_same, *comparison.tokens)
    if comparison.probs_from is not None:
        start = f"{_SAME}, probabilities differ from token {comparison.probs_from + 1} on"
        return f"{start}, {_amount(comparison.most)}"
    if comparison.digests == "different":
        return f"{_SAME}; probabilities differ in the last digits"
    return f"{_SAME}, and the same probabilities to six digits"


def _parting_in_words(num_same: int, before: bytes | None, now: bytes | None) -> str:
    if before is None:
        return f"{_SAME} up to token {num_same}, where that one ended"
    if now is None:
        return f"{_SAME} up to token {num_same}, where this one ended"
    return f"differs from the run before at token {num_same + 1}: {_quoted(now)} instead of {_quoted(before)}"


def _quoted(token: bytes) -> str:
    return f'"{label_of(token)}"' if token else "the end"


def _amount(most: float) -> str:
    """One digit, rounded up: 0.00027 -> "by at most 0.0003"."""
    if most < 1e-6:
        return "in the last digits"
    num_decimals = -math.floor(math.log10(most))
    # Rounded first, so that 0.00030000000000000003 does not become 0.0004.
    digit = math.ceil(round(most * 10**num_decimals, 3))
    return f"by at most {digit / 10**num_decimals:.{max(num_decimals, 0)}f}"
