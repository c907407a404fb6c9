"""What a model's forward passes cost on this machine, and how pending steps are best divided into passes.

On a GPU, and wherever reading the weights dominates, additional ids cost little. Where a library's kernels for a few
columns are poor, a pass over two ids can cost more than two passes (llama.cpp's Q8_0 on AVX2: 2.5 times one). So each
number of ids has a time of its own; a straight line through them would miss that.
"""

from __future__ import annotations

_REMEMBERED = 5  # passes of each size; the fastest counts, because other load only slows passes down
_TRIED = 2  # passes of a size before its time is trusted
_AGAIN = 256  # divisions after which all steps are computed in one pass once, in case costs have changed
_PLANNED = 32  # passes between two calculations of the best sizes


class PassCosts:
    """Learns from passes that give logits after each of their ids: steps of several sequences, or a draft of one.

    Any thread may note a pass and ask for `seconds`; `sizes` and `gain` are for the thread that computes.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[float, ...]] = {}  # by number of ids
        self._num_divided = 1
        self._num_noted = 0
        self._plans: dict[int, list[int]] = {}  # by number of steps

    def note(self, num_ids: int, seconds: float) -> None:
        """A pass over so many ids took this long."""
        noted = self._seconds[num_ids] = (*self._seconds.get(num_ids, ()), seconds)[-_REMEMBERED:]
        self._num_noted += 1
        if len(noted) < _REMEMBERED or self._num_noted % _PLANNED == 0:
            self._plans.clear()

    def seconds(self, num_ids: int) -> float:
        """Of a pass over so many ids; 0 = not known."""
        noted = self._seconds.get(num_ids, ())
        return min(noted) if len(noted) >= _TRIED else 0.0

    def sizes(self, num_steps: int) -> list[int]:
        """Sizes of the passes that are expected to finish so many steps soonest, largest first."""
        self._num_divided += num_steps > 1
        return [num_steps] if self._num_divided % _AGAIN == 0 else self._best(num_steps)

    def gain(self, num_steps: int, num_more: int) -> float:
        """Seconds saved by computing all steps together instead of `num_steps` first and `num_more` after."""
        if not self.seconds(1):
            return 0.0
        return self._total(num_steps) + self._total(num_more) - self._total(num_steps + num_more)

    def _total(self, num_steps: int) -> float:
        return sum(map(self._cost, self._best(num_steps)))

    def _best(self, num_steps: int) -> list[int]:
        if num_steps not in self._plans:
            self._plans[num_steps] = self._planned(num_steps)
        return self._plans[num_steps]

    def _planned(self, num_steps: int) -> list[int]:
        if num_steps <= 1 or not self.seconds(1):
            return [num_steps]
        best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for count in range(1, num_steps + 1):
            ways = ((self._cost(size) + best[count - size][0], size) for size in range(1, count + 1))
            cost, size = min(ways, key=lambda way: (way[0], -way[1]))
            best.append((cost, (size, *best[count - size][1])))
        return sorted(best[num_steps][1], reverse=True)

    def _cost(self, size: int) -> float:
        """Seconds. A size hardly seen yet counts as one step, so that it gets tried."""
        return self.seconds(size) or self.seconds(1)
