"""What is known of drafts: how often they are accepted, and when they pay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_NUM_BINS = 5  # of confidence
_PRIOR = 4  # imaginary draft tokens in each bin at the start, accepted as often as their confidence says
_MEMORY = 64  # after so many values, a rate halves the weight of the older ones
_PLAIN_TRIAL, _DRAFTED_TRIAL = 4, 16  # tokens by which plain and drafted decoding are judged
_TRY_AGAIN = 128  # tokens after which the other way is tried again


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

    @property
    def mean(self) -> float:
        return self.total / self.num if self.num else 0.0

    def mean_with(self, prior: float, weight: float) -> float:
        """The mean if `weight` values of `prior` had come first."""
        return (self.total + weight * prior) / (self.num + weight)


@dataclass(slots=True)
class DraftCosts:
    """Shared by the sessions of the same members, so that each starts from what others have learnt.

    Attributes:
        plain, drafted: seconds waited for members per token, without and with drafts.
    """

    plain: Rate = field(default_factory=Rate)
    drafted: Rate = field(default_factory=Rate)
    _accepted: list[Rate] = field(default_factory=lambda: [Rate() for _ in range(_NUM_BINS + 1)])  # by confidence
    _num_since_trial: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether enough plain steps were seen to know how long one takes."""
        return self.plain.num >= _PLAIN_TRIAL

    def is_worth_drafting(self) -> bool:
        """Whether drafts have saved time. Both ways are tried first; the slower one is tried again now and then."""
        if not self.is_measured or self.drafted.num < _DRAFTED_TRIAL:
            return self.is_measured
        is_better = self.drafted.mean < self.plain.mean
        if self._num_since_trial >= _TRY_AGAIN + (_PLAIN_TRIAL if is_better else _DRAFTED_TRIAL):
            self._num_since_trial = 0
        return is_better != (self._num_since_trial >= _TRY_AGAIN)

    def note_step(self, seconds: float, *, is_drafting: bool) -> None:
        """A token took this long."""
        (self.drafted if is_drafting else self.plain).note(seconds)
        self._num_since_trial += 1

    def note_draft_token(self, confidence: float, *, is_accepted: bool) -> None:
        self._accepted[int(confidence * _NUM_BINS)].note(is_accepted)

    def acceptance(self, confidence: float) -> float:
        """The share of draft tokens this confident that were accepted."""
        return self._accepted[int(confidence * _NUM_BINS)].mean_with(confidence, _PRIOR)


def pays(now_s: float, longer_s: float, survival: float, num_settled: float, draft_s: float = 0.0) -> bool:
    """Whether a draft that is one token longer makes a token cheaper.

    Args:
        now_s, longer_s: seconds of the verifying members' pass; 0 = not known. It takes at least as long as now.
        survival: probability that the pass settles one more place then.
        num_settled: places that it is expected to settle with the draft as it is.
        draft_s: seconds of the pass that drafts the token, which is lost if the draft is rejected before its end.
    """
    return (1 - survival) * draft_s + max(0.0, longer_s - now_s) < survival * now_s / num_settled


def best_length(confidences: Iterable[float], seconds: Callable[[int], float]) -> int:
    """With how many tokens of a draft that costs no pass a token is expected to cost least. A length that is hardly
    known counts as the one before, so that it gets tried, one token at a time.

    Args:
        confidences: of the draft's tokens.
        seconds: of the verifying members' pass over so many ids; 0 = not known.
    """
    survival = num_settled = 1.0
    length = 0
    for confidence in confidences:
        survival *= confidence
        longer_s = seconds(length + 2)
        if not pays(seconds(length + 1), longer_s, survival, num_settled):
            return length
        length += 1
        if not longer_s:
            return length
        num_settled += survival
    return length
