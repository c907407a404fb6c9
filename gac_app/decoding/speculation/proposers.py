"""Who proposes draft tokens: members here, the text itself in `lookup`.

A new proposer is a subclass of `Proposer`, and an entry in the list of `Speculator`, which takes the first draft.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from gac_app.decoding.contexts import MemberContext, SampleFn
from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.sampling import Sampler
from gac_app.errors import ConstraintError


@dataclass(frozen=True, slots=True)
class DraftToken:
    """A token that is read before it is chosen.

    Attributes:
        drafted_by: the members that knew the place; () = the text itself.
        confidence: the probability that it is chosen after the draft before it, as far as its proposer knows.
    """

    token_id: int
    drafted_by: tuple[str, ...] = ()
    confidence: float = 1.0


class Proposer(ABC):
    """Drafts tokens of one answer."""

    @abstractmethod
    def propose(self, most: int) -> list[DraftToken]:
        """Up to `most` tokens that may follow the answer. Asked at every step, also where another one's are taken."""

    def note(self, token_id: int) -> None:  # noqa: B027 (most learn nothing)
        """A token was chosen."""


class OwnDraft(Proposer):
    """Proposes what one member has drafted while others were waited for (see `MemberContext.extend_own_draft`).

    Attributes:
        context: the member's, chosen anew at each step; None = nobody drafts.
        is_for_others: others read the draft too; otherwise it only lets the member itself go on.
    """

    context: MemberContext | None = None
    is_for_others = False

    def propose(self, most: int) -> list[DraftToken]:
        context = self.context if self.is_for_others and most > 0 else None
        token_id = context.next_draft_id() if context else None
        return [] if context is None or token_id is None else [DraftToken(token_id, (context.name,))]


def choice_alone(sampler: Sampler) -> SampleFn:
    """What would be chosen from one member's distributions alone, from the answer's end on."""
    forked = sampler.fork()

    def choose(distribution: TokenDistribution) -> int | None:
        try:
            return forked.choose(distribution.estimate.probs_U)
        except ConstraintError:  # it leaves nothing, and the place may never come
            return None

    return choose
