"""Where to look for weights: points that are at least 0 and sum to 1, and a search between two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Point = tuple[float, ...]

_GOLDEN = (5**0.5 - 1) / 2


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


def golden_section(gain: Callable[[float], float], num_probes: int) -> float:
    """Where in [0, 1] `gain` is largest, to about 0.62 ** num_probes, if it rises to one top and falls after it.

    Otherwise it ends at some local top. `gain` is asked `num_probes` times, at least twice. Where two probes are
    equal, the half about 1/2 is gone on with.

    Example: (lambda x: -abs(x - 0.3), 20) -> about 0.3
    """
    low, high = 0.0, 1.0
    left, right = 1 - _GOLDEN, _GOLDEN
    at_left, at_right = gain(left), gain(right)
    for _ in range(num_probes - 2):
        is_left = at_left > at_right or (at_left == at_right and left + right > 1)
        if is_left:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = gain(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = gain(right)
    return left if at_left > at_right else right
