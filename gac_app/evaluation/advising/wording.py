"""Advice in words, and as settings of a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import yaml

from gac_app.config import Config
from gac_app.evaluation.advising.advice import DISCORDANT, LEVEL, POWER, Advice, HeldOut
from gac_app.evaluation.metrics import questions_needed
from gac_app.evaluation.running import System

_LITTLE = 0.03  # a gain worth looking for


def sentences(advice: Advice, config: Config) -> list[str]:
    """The advice, most important first."""
    best, judged = advice.best.alone, advice.judged
    found = [_verdict(advice, config)]
    if judged:
        low, high = (100 * end for end in judged.interval)
        found.append(
            f"Gain to expect over {best} alone: {100 * judged.comparison.delta:+.1f} points "
            f"({low:+.1f} to {high:+.1f}), on {len(judged.right)} held-out questions; p {judged.comparison.p:.2g}."
        )
        if not judged.is_shown:
            found.append(_what_more_takes(judged))
    if isinstance(advice.saved, str):
        found.append(f"Bits of reference answers saved: {advice.saved}.")
    else:
        saved, least, most = (100 * share for share in advice.saved)
        found.append(
            f"Bits of reference answers saved against {best} alone: {saved:.1f} % ({least:.1f} to {most:.1f}). "
            "That counts where answers are sampled or texts scored; fewer bits need not be more right answers."
        )
    return [*found, *_cost(advice), _managed(advice)]


def pasted(advice: Advice, config: Config) -> str:
    """The part `settings` of a configuration that takes the advice, as YAML."""
    return _yaml(taken(advice.chosen if advice.takes_ensemble else advice.best, config))


def in_words(system: System, config: Config) -> str:
    """What a setting does."""
    settings = system.settings(config)
    if system.alone:
        return f"{system.alone} alone"
    named = isinstance(settings.weights, dict)
    weights = ", ".join(f"{name} {weight:g}" for name, weight in config.weights(settings).items()) if named else ""
    how = f"{settings.combine}, weights {weights or settings.weights}"
    if settings.mode == "gate":
        return f"{settings.gate} as the gate, all members where its confidence is below {settings.threshold:g}; {how}"
    return f"all members at every step; {how}"


def taken(system: System, config: Config) -> dict[str, Any]:
    """The settings that make a system, of JSON's own types."""
    if system.alone:
        return {"members": [system.alone], "gate": system.alone}
    settings = system.settings(config)
    names = ("mode", "gate", *(["threshold"] if settings.mode == "gate" else []), "combine", "weights")
    return {name: getattr(settings, name) for name in names}


def _yaml(settings: dict[str, Any]) -> str:
    return yaml.safe_dump({"settings": settings}, sort_keys=False, allow_unicode=True, width=1000)


def _verdict(advice: Advice, config: Config) -> str:
    best, judged = advice.best.alone, advice.judged
    setting = in_words(advice.chosen, config)
    if judged is None:
        return f"Use {best} alone: there was no time to judge a setting. The one to try with more minutes: {setting}."
    if judged.is_shown:
        return f"Take this setting, which answers more questions right than {best} alone: {setting}."
    if judged.comparison.delta < 0 and judged.comparison.p < LEVEL:
        return f"Use {best} alone: the setting chosen answers fewer questions right: {setting}."
    return f"Use {best} alone: nothing is shown in favour of an ensemble. Judged was this setting: {setting}."


def _what_more_takes(judged: HeldOut) -> str:
    least = judged.effect_shown
    shown = f"only a difference of {100 * least:.3g} points or more" if least else "no difference"
    needed = 2 * questions_needed(_LITTLE, POWER, DISCORDANT, LEVEL)
    little = f"{100 * _LITTLE:.0f} points"
    return f"So few questions can show {shown}; {little} take about {needed:,} questions and more minutes."


def _cost(advice: Advice) -> Iterator[str]:
    if advice.judged:
        yield f"Steps at which it asks all members: {advice.judged.share_ensembled:.0%}."
    own = advice.times.get(advice.chosen)
    slowest = max((time for system, time in advice.times.items() if system.alone and time), default=None)
    if own and slowest:
        yield f"Time a token, against the slowest member alone: {own / slowest:.2f} times."


def _managed(advice: Advice) -> str:
    done = advice.managed
    return (
        f"Took {timedelta(seconds=round(done.seconds))}; of {done.development} development questions read {done.read} "
        f"and answered {done.answered}, of {done.held_out} held out answered {done.judged}."
    )
