"""Decides whether to draft and how far, from costs and gains measured while decoding."""

from __future__ import annotations

from dataclasses import dataclass, field

_NUM_BINS = 5  # of confidence
_PRIOR = 4  # imaginary draft tokens in each bin at the start, accepted as often as their confidence says
_MEMORY = 64  # after so many values, a rate halves the weight of the older ones
_PLAIN_TRIAL, _DRAFTED_TRIAL = 4, 16  # tokens by which plain and drafted decoding are judged
_TRY_AGAIN = 128  # tokens after which the other way is tried again
_LENGTHS = (1, 2, 3, 4)  # of drafts, by which members are compared
_FEW = 3  # passes of a length before its time is trusted
MAX_GUESS = 7  # tokens of a draft from prompt lookup


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


@dataclass(slots=True)
class DraftCosts:
    """Shared by the sessions of the same members, so that each starts from what others have learnt.

    Attributes:
        plain, drafted: seconds waited for members per token, without and with drafts.
        draft: seconds of a pass of the drafting member.
    """

    plain: Rate = field(default_factory=Rate)
    drafted: Rate = field(default_factory=Rate)
    draft: Rate = field(default_factory=Rate)
    _verify: dict[int, Rate] = field(default_factory=dict)  # by ids read: seconds of a pass of those who verify
    _passes: dict[str, Rate] = field(default_factory=dict)  # by member: seconds, in plain steps
    _agreement: dict[str, Rate] = field(default_factory=dict)  # by member: share of its argmaxes that were chosen
    _accepted: list[Rate] = field(default_factory=lambda: [Rate() for _ in range(_NUM_BINS + 1)])  # by confidence
    _num_since_trial: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether enough plain steps were seen to know which members are fast."""
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

    def note_plain_pass(self, name: str, seconds: float) -> None:
        """A member's pass in a plain step, where all members read at once."""
        self._passes.setdefault(name, Rate()).note(seconds)

    def note_argmax(self, name: str, *, is_chosen: bool) -> None:
        """Whether the member's argmax was chosen."""
        self._agreement.setdefault(name, Rate()).note(is_chosen)

    def note_verifying(self, num_ids: int, seconds: float) -> None:
        """The verifying members took this long to read up to `num_ids` ids each."""
        self._verify.setdefault(num_ids, Rate()).note(seconds)

    def note_draft_token(self, confidence: float, *, is_accepted: bool) -> None:
        self._accepted[int(confidence * _NUM_BINS)].note(is_accepted)

    def best_drafter(self, names: list[str]) -> str:
        """The member whose drafts make a token cheapest; the first one while too little is known."""
        if len(names) == 1 or not all(name in self._passes and name in self._agreement for name in names):
            return names[0]
        return min(names, key=lambda name: self._cost(name, names))

    def _cost(self, drafter: str, names: list[str]) -> float:
        """Seconds per token if this member drafted at the best length and the others verified."""
        own, agreement = self._passes[drafter].mean, self._agreement[drafter].mean
        others = max(self._passes[name].mean for name in names if name != drafter)
        num_tokens = [sum(agreement**i for i in range(length + 1)) for length in _LENGTHS]
        return min((length * own + others) / num for length, num in zip(_LENGTHS, num_tokens, strict=True))

    def acceptance(self, confidence: float) -> float:
        """The share of draft tokens this confident that were accepted."""
        accepted = self._accepted[int(confidence * _NUM_BINS)]
        return (accepted.total + _PRIOR * confidence) / (accepted.num + _PRIOR)

    def goes_on(self, survival: float, num_settled: float, share_asked: float, num_ids: int) -> bool:
        """Whether one more pass of the drafting member is worth its time.

        The pass is lost if the draft is rejected before its end. Otherwise the same pass of the others settles one more
        place, though it may take longer for that.

        Args:
            survival: probability that the whole draft is accepted.
            num_settled: places that the others' pass is expected to settle with the draft as it is.
            share_asked: share of the places at which the others are asked.
            num_ids: ids that the others would read now.
        """
        now = self._verifying(num_ids)
        loss = (1 - survival) * self.draft.mean + max(0.0, self._verifying(num_ids + 1) - now)
        return loss < survival * share_asked * now / (num_settled + 1)

    def _verifying(self, num_ids: int) -> float:
        """Seconds of a pass over this many ids, or over the next smaller number seen so far."""
        known = [length for length, rate in list(self._verify.items()) if rate.num >= _FEW and length <= num_ids]
        return self._verify[max(known)].mean if known else 0.0

    def best_length(self, acceptances: list[float]) -> int:
        """The number of draft tokens, drafted at no cost, with which a token is expected to cost least.

        A length that is hardly known counts as the one before, so that it gets tried, one token at a time.

        Args:
            acceptances: the probability of each draft token to be chosen after those before it.
        """
        seconds, survival, num_settled = self._known_s(1), 1.0, 1.0
        best, least = 0, seconds
        for length, acceptance in enumerate(acceptances, 1):
            known = self._known_s(length + 1)
            survival *= acceptance
            num_settled += survival
            seconds = max(seconds, known)
            if seconds / num_settled < least:
                best, least = length, seconds / num_settled
            if not known:
                break
        return best

    def _known_s(self, num_ids: int) -> float:
        rate = self._verify.get(num_ids)
        return rate.mean if rate and rate.num >= _FEW else 0.0
