"""What a decoding session yields: values that the page, the command line and the database read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class FinishReason(StrEnum):
    """Why a session ended."""

    STOP = "stop"  # END was chosen, or a stop string was written
    LENGTH = "length"  # max_new_tokens, or the smallest member's context, was reached
    ABORT = "abort"  # it was stopped
    ERROR = "error"  # a member failed and the settings say stop, or none was left; or no token was


class Candidate(NamedTuple):
    """A union token and its probability in a distribution. Empty bytes stand for END."""

    token_id: int
    token: bytes
    prob: float


@dataclass(frozen=True, slots=True)
class MemberTrace:
    """What one member gave at a step in which it took part."""

    member: str
    weight: float  # normalised over the members taking part
    prob: float  # of the chosen token
    rank: int  # of the chosen token in its distribution, 1 = its argmax
    top: tuple[Candidate, ...]  # its likeliest tokens, best first
    num_read: int  # ids read for this step: 1 when up to date, more when it caught up
    seconds: float  # of its forward pass, which other sequences may have shared
    num_told: int = 0  # tokens that its server told, as many as the choice needed; 0 = it was computed here
    missing: float = 0.0  # what the server would not divide among tokens, so that the choice is a guess


@dataclass(frozen=True, slots=True)
class StepTrace:
    """Everything that one decoding step saw and chose. `prob` and `top` are those of the combined distribution."""

    position: int  # from 0, of the answer
    token_id: int
    token: bytes  # empty for END
    prob: float
    top: tuple[Candidate, ...]
    gate_confidence: float  # by the gate rule, 0 to 1; of one alone, or drawn without a gate, its largest probability
    is_ensembled: bool  # several members took part, or one drawn to stand for them
    winner: str  # the member that carried the token: the largest weight x prob
    members: tuple[MemberTrace, ...]  # those that took part, in the ensemble's order
    # Members that spell the token otherwise -> the pieces they read since their last boundary: several; more bytes than
    # the token's if a longer token was completed; none while inside a longer token.
    spellings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()  # members lost so far to failures
    is_partial: bool = False  # the tokens of some members go on beyond this one
    is_shared: bool = True  # all members' tokens surely end with this one
    # If it is partial or forced: each member's probability of its bytes, before alignment merged the tokens.
    evidence: dict[str, float] = field(default_factory=dict)
    is_forced: bool = False  # given by a branch, not chosen
    is_drafted: bool = False  # an accepted draft token
    # Whose distributions the place's draft token came from, accepted or not; () = prompt lookup; None = there was no
    # draft, or who made it is not known.
    drafted_by: tuple[str, ...] | None = None
    drawn: str = ""  # the member that was drawn to stand for all that take part; "" = they all did
    # What the gate alone would have chosen where several members took part; b"" = END. None = it decided, or not known.
    gate_choice: bytes | None = None


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One step. `text` is what it adds to the answer; empty while a character or a stop string is incomplete."""

    text: str
    step: StepTrace


class StepOutline(NamedTuple):
    """What is drawn of a step: a token event without its candidates and members."""

    text: str
    token: bytes
    is_ensembled: bool
    is_forced: bool
    is_partial: bool
    is_drawn: bool
    winner: str
    prob: float
    gate_confidence: float
    gate_choice: bytes | None = None

    @classmethod
    def of(cls, event: TokenEvent) -> StepOutline:
        step = event.step
        return cls(
            text=event.text,
            token=step.token,
            is_ensembled=step.is_ensembled,
            is_forced=step.is_forced,
            is_partial=step.is_partial,
            is_drawn=bool(step.drawn),
            winner=step.winner,
            prob=step.prob,
            gate_confidence=step.gate_confidence,
            gate_choice=step.gate_choice,
        )


def is_changed(step: StepTrace | StepOutline) -> bool:
    """Whether the gate alone would have written something else; the token may be the beginning of what it chose."""
    token, chosen = step.token, step.gate_choice
    return chosen is not None and chosen != token and not (token and chosen.startswith(token))


@dataclass(frozen=True, slots=True)
class MemberUsage:
    """What a session cost a member."""

    num_forwards: int = 0
    num_tokens_read: int = 0
    seconds: float = 0.0  # of forward passes it took part in


@dataclass(frozen=True, slots=True)
class FinishedEvent:
    """The end. `text` equals the joined texts of all token events."""

    reason: FinishReason
    text: str
    num_tokens: int  # steps, END included
    num_ensembled: int
    ttft_s: float  # time to the first token decoded; 0 where there was none
    seconds: float
    members: dict[str, MemberUsage]
    detail: str = ""  # for people: which member failed, which limit was reached
    digest: str = ""  # of its steps (see `StepDigest`), in hexadecimal
    is_reproducible: bool = False  # the same models, messages, settings and seed give this digest again
    num_replayed: int = 0  # of the tokens, those that a branch replayed: they took no step
    is_at_odds: bool = False  # an ERROR because its JSON schema and bias left no token; not stored

    @property
    def is_cut(self) -> bool:
        """Whether `max_new_tokens` ended it, and not a full context."""
        return self.reason is FinishReason.LENGTH and self.detail.startswith("the limit of ")

    @property
    def num_decoded(self) -> int:
        return self.num_tokens - self.num_replayed

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed after the first token decoded."""
        decode_s = self.seconds - self.ttft_s
        return (self.num_decoded - 1) / decode_s if self.num_decoded > 1 and decode_s > 0 else 0.0


Event = TokenEvent | FinishedEvent
