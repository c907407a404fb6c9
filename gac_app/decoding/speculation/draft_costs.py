"""How often drafts are accepted, and when they pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

_MEMORY = 64  # after so many values, a rate halves the weight of the older ones


@dataclass(slots=True)
class Rate:
    """A mean in which old values count less."""

    num: float = 0.0
    total: float = 0.0

    def note(self, value: float) -> None:
        if self.num >= _MEMORY:
            self.num /= 2
            self.total /= 2
        self.num += 1
        self.total += value

    def mean_with(self, prior: float, weight: float) -> float:
        """The mean if `weight` values of `prior` had come first."""
        return (self.total + weight * prior) / (self.num + weight)


def pays(now_s: float, longer_s: float, survival: float, num_decided: float) -> bool:
    """Whether a draft that is one token longer makes a token cheaper.

    Args:
        now_s, longer_s: seconds of the verifying members' pass; 0 = not known. It takes at least as long as now.
        survival: probability that the pass decides one more token then.
        num_decided: tokens that it is expected to decide with the draft as it is.
    """
    return max(0.0, longer_s - now_s) < survival * now_s / num_decided


def best_length(confidences: Iterable[float], seconds: Callable[[int], float]) -> int:
    """With how many tokens of a draft that costs no pass a token is expected to cost least. A length that is hardly
    known counts as the one before, so that it gets tried, one token at a time.

    Args:
        confidences: of the draft's tokens.
        seconds: of the verifying members' pass over so many ids; 0 = not known.
    """
    survival = num_decided = 1.0
    length = 0
    for confidence in confidences:
        survival *= confidence
        longer_s = seconds(length + 2)
        if not pays(seconds(length + 1), longer_s, survival, num_decided):
            return length
        length += 1
        if not longer_s:
            return length
        num_decided += survival
    return length
