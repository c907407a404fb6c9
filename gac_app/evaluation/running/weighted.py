"""Weights as points of the simplex, at least 0 and summing to 1, and the systems named by them."""

from __future__ import annotations

from collections.abc import Iterator

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running.systems import System, parse_system

Point = tuple[float, ...]


def simplex_grid(num_weights: int, resolution: int) -> Iterator[Point]:
    """All points whose weights are multiples of 1 / resolution.

    Example: (2, 2) -> (0.0, 1.0), (0.5, 0.5), (1.0, 0.0)
    """
    for counts in _compositions(num_weights, resolution):
        yield tuple(count / resolution for count in counts)


def _compositions(num_parts: int, total: int) -> Iterator[tuple[int, ...]]:
    if num_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(num_parts - 1, total - first):
            yield (first, *rest)


def suffix_of(options: str, config: Config) -> str:
    """The end of a system's name. Raises RequestError if `options` are unknown, or set the weights."""
    if not options:
        return ""
    if "weights" in parse_system(f"every-step+{options}", config).changes:
        raise RequestError("options", f"{options!r}: sets the weights, which are what is compared")
    return f"+{options}"


def system_at(point: Point, config: Config, suffix: str = "") -> System:
    """The ensemble with these weights at every step. If only one member has weight, that member alone."""
    heard = [name for name, weight in zip(config.member_names, point, strict=True) if weight > 0]
    if len(heard) == 1:
        return parse_system(f"alone:{heard[0]}", config)
    if point == even(len(config.member_names)):
        is_default = config.settings.weights == "average"  # the shorter name, as `eval` would use it
        return parse_system(("every-step" if is_default else "every-step+average") + suffix, config)
    return parse_system(f"every-step+w={':'.join(f'{weight:g}' for weight in point)}{suffix}", config)


def even(num_members: int) -> Point:
    """Equal weights."""
    return rounded((1 / num_members,) * num_members)


def rounded(point: Point) -> Point:
    """Rounded to hundredths, so that equal weights have equal names."""
    return tuple(round(weight, 2) for weight in point)
