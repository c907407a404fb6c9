"""What a batch of steps costs on this machine, and how pending steps are best divided into batches.

On a GPU, and wherever reading the weights dominates, additional steps cost little. Where a library's kernels for a few
columns are poor, a batch of two steps can cost more than two batches (llama.cpp's Q8_0 on AVX2: 2.5 times one).
"""

from __future__ import annotations

from collections import deque

_REMEMBERED = 5  # batches of each size; the fastest counts, because other load only slows batches down
_TRIED = 2  # batches of a size before its cost is trusted
_AGAIN = 256  # divisions after which all steps are batched once, in case costs have changed
_PLANNED = 32  # batches between two calculations of the best sizes


class BatchCosts:
    """Learns from batches of single steps."""

    def __init__(self) -> None:
        self._seconds: dict[int, deque[float]] = {}  # by number of steps
        self._num_cut = 1
        self._num_noted = 0
        self._plans: dict[int, list[int]] = {}  # by number of steps

    def note(self, num_steps: int, seconds: float) -> None:
        """A batch of `num_steps` steps took this long."""
        noted = self._seconds.setdefault(num_steps, deque(maxlen=_REMEMBERED))
        noted.append(seconds)
        self._num_noted += 1
        if len(noted) < _REMEMBERED or self._num_noted % _PLANNED == 0:
            self._plans.clear()

    def sizes(self, num_steps: int) -> list[int]:
        """Batch sizes that are expected to finish so many steps soonest, largest first."""
        self._num_cut += num_steps > 1
        return [num_steps] if self._num_cut % _AGAIN == 0 else self._best(num_steps)

    def gain(self, num_steps: int, num_more: int) -> float:
        """Seconds saved by one batch of all steps instead of `num_steps` first and `num_more` after."""
        if not self._is_known(1):
            return 0.0
        return self._total(num_steps) + self._total(num_more) - self._total(num_steps + num_more)

    def _total(self, num_steps: int) -> float:
        return sum(map(self._cost, self._best(num_steps)))

    def _best(self, num_steps: int) -> list[int]:
        if num_steps not in self._plans:
            self._plans[num_steps] = self._planned(num_steps)
        return self._plans[num_steps]

    def _planned(self, num_steps: int) -> list[int]:
        if num_steps <= 1 or not self._is_known(1):
            return [num_steps]
        best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for count in range(1, num_steps + 1):
            ways = ((self._cost(size) + best[count - size][0], size) for size in range(1, count + 1))
            cost, size = min(ways, key=lambda way: (way[0], -way[1]))
            best.append((cost, (size, *best[count - size][1])))
        return sorted(best[num_steps][1], reverse=True)

    def _is_known(self, size: int) -> bool:
        return len(self._seconds.get(size, ())) >= _TRIED

    def _cost(self, size: int) -> float:
        """Seconds. A size hardly seen yet counts as one step, so that it gets tried."""
        return min(self._seconds[size if self._is_known(size) else 1])
