"""What drafting costs and gains, as measured while it goes on: how far to draft, and whether to draft at all."""

from __future__ import annotations

from dataclasses import dataclass, field

_NUM_BINS = 5  # of confidence
_PRIOR = 4  # draft tokens that a bin starts with, accepted as often as they are confident
_MEMORY = 64  # of what a rate is a mean; then what is older counts half
_PLAIN_LOOK, _DRAFTED_LOOK = 4, 16  # tokens by which a way of decoding is judged
_LOOK_AGAIN = 128  # tokens after which the other way is tried anew
_LENGTHS = (1, 2, 3, 4)  # of drafts, by which members are compared
_FEW = 3  # passes of a length from which its time is believed


@dataclass(slots=True)
class Rate:
    """A mean that forgets."""

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
class Pace:
    """Shared by the sessions of the same members, so that each starts from what others have learnt.

    Attributes:
        plain, drafted: seconds waited for members per token, without and with drafts.
        draft: seconds of a pass of the drafting member.
    """

    plain: Rate = field(default_factory=Rate)
    drafted: Rate = field(default_factory=Rate)
    draft: Rate = field(default_factory=Rate)
    _verify: dict[int, Rate] = field(default_factory=dict)  # by ids read: seconds of a pass of all others
    _passes: dict[str, Rate] = field(default_factory=dict)  # by member: seconds, in plain steps
    _agreement: dict[str, Rate] = field(default_factory=dict)  # by member: share of its argmaxes that were chosen
    _accepted: list[Rate] = field(default_factory=lambda: [Rate() for _ in range(_NUM_BINS + 1)])  # by confidence
    _num_since_look: int = 0

    @property
    def is_measured(self) -> bool:
        """Whether enough plain steps were seen to know who is fast."""
        return self.plain.num >= _PLAIN_LOOK

    def is_worth_drafting(self) -> bool:
        """Whether the measured time says so; each way is tried first, and the other one now and then."""
        if not self.is_measured or self.drafted.num < _DRAFTED_LOOK:
            return self.is_measured
        is_better = self.drafted.mean < self.plain.mean
        if self._num_since_look >= _LOOK_AGAIN + (_PLAIN_LOOK if is_better else _DRAFTED_LOOK):
            self._num_since_look = 0
        return is_better != (self._num_since_look >= _LOOK_AGAIN)

    def note_step(self, seconds: float, *, is_drafting: bool) -> None:
        """A token took this long."""
        (self.drafted if is_drafting else self.plain).note(seconds)
        self._num_since_look += 1

    def note_plain_pass(self, name: str, seconds: float) -> None:
        """A member's pass of a plain step, at which all read at once."""
        self._passes.setdefault(name, Rate()).note(seconds)

    def note_argmax(self, name: str, *, is_chosen: bool) -> None:
        """Whether what a member would have chosen itself was chosen."""
        self._agreement.setdefault(name, Rate()).note(is_chosen)

    def note_verifying(self, num_ids: int, seconds: float) -> None:
        """All others than the drafting member took this long to read up to `num_ids` ids each."""
        self._verify.setdefault(num_ids, Rate()).note(seconds)

    def note_draft_token(self, confidence: float, *, is_accepted: bool) -> None:
        self._accepted[int(confidence * _NUM_BINS)].note(is_accepted)

    def best_drafter(self, names: list[str]) -> str:
        """The member by whose drafts a token costs least; the first one where too little is known."""
        if len(names) == 1 or not all(name in self._passes and name in self._agreement for name in names):
            return names[0]
        return min(names, key=lambda name: self._cost(name, names))

    def _cost(self, drafter: str, names: list[str]) -> float:
        """Seconds per token, were drafts of the best length made by this member and verified by the others."""
        own, agreement = self._passes[drafter].mean, self._agreement[drafter].mean
        others = max(self._passes[name].mean for name in names if name != drafter)
        num_tokens = [sum(agreement**i for i in range(length + 1)) for length in _LENGTHS]
        return min((length * own + others) / num for length, num in zip(_LENGTHS, num_tokens, strict=True))

    def acceptance(self, confidence: float) -> float:
        """The share of draft tokens this confident that were accepted."""
        seen = self._accepted[int(confidence * _NUM_BINS)]
        return (seen.total + _PRIOR * confidence) / (seen.num + _PRIOR)

    def goes_on(self, survival: float, num_settled: float, share_asked: float, num_ids: int) -> bool:
        """Whether one more pass of the drafting member is worth its time.

        It is lost where the draft is rejected before. Else one more place is settled by the same pass of the others,
        which may take longer for it.

        Args:
            survival: probability that all that is drafted is accepted.
            num_settled: places that the others' pass is expected to settle as it stands.
            share_asked: of places, those at which the others are asked at all.
            num_ids: that the others would read now.
        """
        now = self._verifying(num_ids)
        loss = (1 - survival) * self.draft.mean + max(0.0, self._verifying(num_ids + 1) - now)
        return loss < survival * share_asked * now / (num_settled + 1)

    def _verifying(self, num_ids: int) -> float:
        """Seconds of a pass over this many ids, of fewer where that was not seen yet."""
        known = [length for length, rate in list(self._verify.items()) if rate.num >= _FEW and length <= num_ids]
        return self._verify[max(known)].mean if known else 0.0
