"""The settings that advice tries, by what is known of them so far."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.advising.likelihood import Likelihoods
from gac_app.evaluation.running import System, even, members_alone, parse_system, rounded, simplex_grid, system_at
from gac_app.evaluation.tasks import Question

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_KEPT = 0.95  # of the gain of every step, by the threshold that is taken
MAX_FINAL = 4  # settings whose answers are compared, at most


def alone(config: Config) -> list[System]:
    """Each member alone. Raises RequestError if there is one only."""
    if len(config.member_names) < 2:
        raise RequestError("members", "there is only one, so there is nothing to choose")
    return members_alone(config)


def means(config: Config) -> list[System]:
    """The mean at every step: with equal weights, with those of a grid, and with those that follow the text."""
    num = len(config.member_names)
    steps = 10 if num == 2 else 2 * num if num <= 4 else num + 2
    points = [even(num), *(rounded(point) for point in simplex_grid(num, steps) if all(point))]
    return [
        *(system_at(point, config) for point in dict.fromkeys(points)),
        parse_system("every-step+posterior", config),
    ]


def by_rules(rules: Sequence[str], config: Config) -> list[System]:
    """Other rules at every step, with equal weights. Each takes a read of its own. Raises RequestError."""
    return [parse_system(f"every-step+combine={rule}", config) for rule in dict.fromkeys(rules) if rule != "mean"]


def gated(mean: System, gate: str, config: Config) -> list[System]:
    """A mean behind the gate's thresholds, for which texts need not be read again, or only because of the gate."""
    suffix = "" if gate == config.settings.gate else f"+gate={gate}"
    return [parse_system(mean.name.replace("every-step", f"gate@{at:g}", 1) + suffix, config) for at in THRESHOLDS]


def kept_by_threshold(
    likelihoods: Likelihoods, every_step: System, thresholds: Sequence[System], best: System, asked: Sequence[Question]
) -> System | None:
    """The setting with the fewest steps ensembled that keeps most of what every step saves. None if every step saves
    nothing, or no threshold keeps it.
    """
    most = likelihoods.bits(best, asked)
    wanted = _KEPT * (most - likelihoods.bits(every_step, asked))
    keeping = [system for system in thresholds if most - likelihoods.bits(system, asked) >= wanted > 0]
    return min(keeping, key=lambda system: likelihoods.share_ensembled(system, asked), default=None)
