"""What a model's forward passes cost on this machine, by the number of ids: a straight line through these times would
miss where a library's kernels change.
"""

from __future__ import annotations

_REMEMBERED = 5  # passes of each size; the fastest counts, because other load only slows passes down
_TRIED = 2  # passes of a size before its time is trusted


class PassCosts:
    """Learns from passes that give logits after each of their ids: steps of several sequences, or a draft of one. Any
    thread may use it.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[float, ...]] = {}  # by number of ids

    def note(self, num_ids: int, seconds: float) -> None:
        """A pass over so many ids took this long."""
        self._seconds[num_ids] = (*self._seconds.get(num_ids, ()), seconds)[-_REMEMBERED:]

    def seconds(self, num_ids: int) -> float:
        """Of a pass over so many ids; 0 = not known."""
        noted = self._seconds.get(num_ids, ())
        return min(noted) if len(noted) >= _TRIED else 0.0

    def gain(self, num_steps: int, num_more: int) -> float:
        """Seconds saved by computing all steps together instead of `num_steps` first and `num_more` after. A size that
        is hardly seen yet counts as one step, so that it gets tried.
        """
        one_s, sizes = self.seconds(1), (num_steps, num_more, num_steps + num_more)
        first_s, then_s, together_s = (self.seconds(size) or one_s for size in sizes)
        return first_s + then_s - together_s if one_s else 0.0
