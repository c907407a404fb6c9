"""A grid of weights: points of the simplex, at least 0 and summing to 1."""

from __future__ import annotations

from collections.abc import Iterator

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
