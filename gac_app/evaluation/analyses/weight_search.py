"""Weights as points of the simplex: systems named by them, and a search for the highest accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import Point, simplex_grid
from gac_app.evaluation.running import Answer, System, parse_system
from gac_app.evaluation.tasks import Question

Ask = Callable[[Sequence[System], Sequence[Question]], Mapping[System, Sequence[Answer]]]

_TENTHS, _QUARTERS = 10, 4  # steps of the grid for two members, and for more


def accuracies_on_grid(
    config: Config, ask: Ask, development: Sequence[Question], suffix: str = ""
) -> dict[Point, float]:
    """The share of development questions answered right with each weights on the grid, in the members' order.

    All points are evaluated together, so that each prompt is read only once.

    Args:
        suffix: of all ensembles' names, from `suffix_of`.
    """
    num_members = len(config.member_names)
    grid = simplex_grid(num_members, _TENTHS if num_members == 2 else _QUARTERS)
    systems = {point: system_at(point, config, suffix) for point in (even(num_members), *map(rounded, grid))}
    given = ask(list(systems.values()), development)
    return {
        point: sum(answer.is_right for answer in given[system]) / len(given[system])
        for point, system in systems.items()
    }


def best_of(accuracies: Mapping[Point, float]) -> Point:
    """The most accurate point; among equals the most even one."""
    return max(accuracies, key=lambda point: (accuracies[point], -sum(weight**2 for weight in point)))


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


def vertex(index: int, num_members: int) -> Point:
    """All the weight on one member."""
    return tuple(float(index == other) for other in range(num_members))


def even(num_members: int) -> Point:
    """Equal weights."""
    return rounded((1 / num_members,) * num_members)


def shares(values: Sequence[float]) -> Point:
    """In proportion to `values`; equal where all are 0."""
    total = sum(values)
    return rounded(tuple(value / total for value in values)) if total > 0 else even(len(values))


def rounded(point: Point) -> Point:
    """Rounded to hundredths, so that equal weights have equal names."""
    return tuple(round(weight, 2) for weight in point)
