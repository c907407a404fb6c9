"""What a decoding session yields: values, from which page, API, command line and database are all served."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class FinishReason(StrEnum):
    """Why a session ended."""

    STOP = "stop"  # END was chosen, or a stop string was written
    LENGTH = "length"  # max_new_tokens, or the smallest member's context, was reached
    ABORT = "abort"  # somebody stopped it
    ERROR = "error"  # a member failed and the settings say stop, or none was left


@dataclass(frozen=True, slots=True)
class Candidate:
    """A union token and the probability that a distribution gave it. Empty bytes stand for END."""

    token_id: int
    token: bytes
    prob: float


@dataclass(frozen=True, slots=True)
class MemberTrace:
    """What one member gave at a step in which it took part."""

    member: str
    weight: float  # normalised over the members taking part
    prob: float  # it gave the chosen token
    rank: int  # of the chosen token in its distribution, 1 = its argmax
    top: tuple[Candidate, ...]  # its likeliest tokens, best first
    num_read: int  # ids read for this step: 1 when up to date, more when it caught up
    seconds: float  # of its forward pass, shared with whatever was batched into it


@dataclass(frozen=True, slots=True)
class StepTrace:
    """Everything one decoding step saw and chose. `prob` and `top` are of the combined distribution."""

    position: int  # from 0, of the answer
    token_id: int
    token: bytes  # empty for END
    prob: float
    top: tuple[Candidate, ...]
    gate_confidence: float  # the largest probability the gate gave any token
    is_ensembled: bool  # several members took part, or one drawn to stand for them
    winner: str  # the member that carried the token: the largest weight x prob
    members: tuple[MemberTrace, ...]  # those that took part, in the ensemble's order
    # Members that do not read the token as it is -> the pieces they read after their last boundary: several, more
    # bytes than the token's where it is read as part of a longer one now, none inside a token that is not complete.
    spellings: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()  # members lost so far to failures
    is_partial: bool = False  # the tokens of some members go on beyond this one
    is_shared: bool = True  # all members' surely end with it
    evidence: dict[str, float] = field(default_factory=dict)  # where it is partial: what each member gave to its bytes
    is_forced: bool = False  # given by a branch, not chosen
    is_drafted: bool = False  # a draft token of one member, verified by others with more in one pass
    drawn: str = ""  # the member that was drawn to stand for all that take part; "" = they all did


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One step. `text` is what it adds to the answer: nothing while a character or a stop string is incomplete."""

    text: str
    step: StepTrace


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
    ttft_s: float  # time to first token; 0 where there was none
    seconds: float
    members: dict[str, MemberUsage]
    detail: str = ""  # for people: which member failed, which limit was reached
    digest: str = ""  # of its steps (see `StepDigest`), in hexadecimal
    is_reproducible: bool = False  # the same models, messages, settings and seed give this digest again

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed after the first token."""
        decode_s = self.seconds - self.ttft_s
        return (self.num_tokens - 1) / decode_s if self.num_tokens > 1 and decode_s > 0 else 0.0


Event = TokenEvent | FinishedEvent
