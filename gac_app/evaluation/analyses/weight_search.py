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


class WeightSearch:
    """The accuracies of weights on a grid, on the development half.

    All points are evaluated together, so that each prompt is read only once.

    Args:
        options: of all ensembles, as in a system's name: `paper+combine=geometric`; "" = the configuration's.

    Attributes:
        tried: accuracies by point, weights in the members' order.

    Raises:
        RequestError: `options` are unknown, or set the weights.
    """

    def __init__(self, config: Config, ask: Ask, development: Sequence[Question], options: str) -> None:
        self.suffix = suffix_of(options, config)
        self.tried: dict[Point, float] = {}
        self._config = config
        self._ask = ask
        self._development = development

    def system(self, point: Point) -> System:
        """The ensemble with these weights."""
        return system_at(point, self._config, self.suffix)

    def accuracy(self, point: Point) -> float:
        """The share of development questions answered right with weights on the grid."""
        if not self.tried:
            self._try_all()
        return self.tried[point]

    def best(self) -> Point:
        """The most accurate point of the grid; among equals the most even one."""
        if not self.tried:
            self._try_all()
        return max(self.tried, key=lambda point: (self.tried[point], -sum(weight**2 for weight in point)))

    def _try_all(self) -> None:
        num_members = len(self._config.member_names)
        grid = simplex_grid(num_members, _TENTHS if num_members == 2 else _QUARTERS)
        systems = {point: self.system(point) for point in (even(num_members), *map(rounded, grid))}
        given = self._ask(list(systems.values()), self._development)
        for point, system in systems.items():
            self.tried[point] = sum(answer.is_right for answer in given[system]) / len(given[system])


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
