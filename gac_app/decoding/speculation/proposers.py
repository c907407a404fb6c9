"""Who proposes draft tokens: members here, the text itself in `lookup`.

A new proposer is a subclass of `Proposer`, and an entry in the list of each time at which `Speculator` shall ask it:
overlapped, in turn, or both. The first of a list that proposes something is taken.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gac_app.decoding.contexts import MemberContext, SampleFn
from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.rules.sampling import Sampler
from gac_app.errors import ConstraintError, RuleError


@dataclass(frozen=True, slots=True)
class DraftToken:
    """A token that is read before it is chosen.

    Attributes:
        drafted_by: the members that knew the place; () = the text itself.
        confidence: the probability that it is chosen after the draft before it, as far as its proposer knows.
        is_certain: no other member will be asked at this place.
    """

    token_id: int
    drafted_by: tuple[str, ...] = ()
    confidence: float = 1.0
    is_certain: bool = False


class Proposer(ABC):
    """Drafts tokens of one answer."""

    @abstractmethod
    def propose(self, draft: Sequence[DraftToken], most: int) -> list[DraftToken]:
        """Up to `most` tokens that may follow the answer and its draft so far."""

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

    def propose(self, draft: Sequence[DraftToken], most: int) -> list[DraftToken]:
        context = self.context if self.is_for_others and most > 0 and not draft else None
        token_id = context.next_draft_id() if context else None
        return [] if context is None or token_id is None else [DraftToken(token_id, (context.name,))]


class KnownPlaces(Proposer):
    """Proposes what would be chosen at the draft's end from the distributions that are known there, by the answer's
    rules and with the random numbers of that place.
    """

    def __init__(self, alive: Mapping[str, MemberContext], rules: AnswerRules) -> None:
        self._alive, self._rules = alive, rules
        self._sampler = rules.sampler

    def propose(self, draft: Sequence[DraftToken], most: int) -> list[DraftToken]:
        known = {n: d for n, context in self._alive.items() if (d := context.distribution_at(len(draft))) is not None}
        if not known or most <= 0:
            return []
        names = list(self._alive)
        try:
            weights = self._rules.mixture_weights(list(known), known.__getitem__)
            probs_U = self._rules.combiner({name: d.probs_U for name, d in known.items()}, weights)
            gate = known.get(names[0]) if self._rules.gate.is_asked_alone(names) else None
            is_certain = gate is not None and not self._rules.gate.decision_on([gate], is_stable=True).is_open
            if not draft:
                self._sampler = self._rules.sampler.fork()
            token_id = self._sampler.choose(probs_U)
        # Best effort: stop drafting; the real step reports the error.
        except (RuleError, ConstraintError):
            return []
        return [DraftToken(token_id, tuple(known), min(1.0, float(probs_U[token_id])), is_certain)]


def choice_alone(sampler: Sampler) -> SampleFn:
    """What would be chosen from one member's distributions alone, from the answer's end on."""
    forked = sampler.fork()

    def choose(distribution: TokenDistribution) -> int | None:
        try:
            return forked.choose(distribution.estimate.probs_U)
        except ConstraintError:  # it leaves nothing, and the place may never come
            return None

    return choose
