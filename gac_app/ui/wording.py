"""Settings in words: the line under the prompt, and the line over a stored run."""

from __future__ import annotations

from gac_app.config import Settings

_WEIGHTS = {"average": "equal weights", "score": "weights by score", "posterior": "posterior weights"}


def settings_in_words(settings: Settings) -> str:
    """One line. What every run has comes always, what can be off only where it is on."""
    if settings.mode == "gate":
        parts = [f"gate {settings.gate}", f"others asked below {settings.threshold:.0%}"]
        parts += [f"gate temperature {settings.gate_temperature:g}"] if settings.gate_temperature != 1 else []
        parts += ["reading along"] if settings.gate_policy == "eager" else []
    elif settings.mode == "agreement":
        parts = [f"{settings.gate} while the others agree"]
    else:
        parts = ["every step combined"]
    united = f" of the top {settings.unite_top_k}" if settings.alignment == "unite" else ""
    parts += [_weights(settings), f"{settings.alignment} alignment{united}", *_sampling(settings)]
    parts.append(f"up to {settings.max_new_tokens} tokens")
    if settings.stop:
        parts.append("1 stop string" if len(settings.stop) == 1 else f"{len(settings.stop)} stop strings")
    if settings.system_prompt:
        parts.append("system prompt")
    return " · ".join(parts)


def _weights(settings: Settings) -> str:
    if isinstance(settings.weights, dict):
        return f"own weights ({', '.join(f'{name} {weight:g}' for name, weight in settings.weights.items())})"
    words = _WEIGHTS[settings.weights]
    is_forgetting = settings.weights == "posterior" and settings.posterior_decay < 1
    return f"{words}, memory {settings.posterior_decay:g}" if is_forgetting else words


def _sampling(settings: Settings) -> list[str]:
    parts = [f"temperature {settings.temperature:g}" if settings.temperature else "greedy"]
    if settings.temperature:
        filters = (("top-k", settings.top_k, 0), ("top-p", settings.top_p, 1), ("min-p", settings.min_p, 0))
        parts += [f"{name} {value:g}" for name, value, off in filters if value != off]
        parts.append(f"seed {settings.seed}")
    if settings.repetition_penalty != 1:
        parts.append(f"repetition penalty {settings.repetition_penalty:g}")
    return parts
