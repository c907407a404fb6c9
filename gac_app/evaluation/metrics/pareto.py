"""The Pareto front of cost against accuracy."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (cost, gain) pair, whether no other pair is at least as good in both and better in one.

    Example: [(0, 1), (1, 3), (2, 2)] -> [True, True, False]
    """
    return [not any(_is_better(other, point) for other in points) for point in points]


def _is_better(point: tuple[float, float], than: tuple[float, float]) -> bool:
    return point != than and point[0] <= than[0] and point[1] >= than[1]
