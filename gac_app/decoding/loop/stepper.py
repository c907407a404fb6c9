"""One decoding step of several members (paper, section 3): ask, align, combine, choose, feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from gac_app.decoding.alignment import ends_there, goes_on
from gac_app.decoding.contexts import MemberContext, SessionStopped
from gac_app.decoding.distribution import MemberStep, TokenDistribution
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.tracing import TOP_K, Decision
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.speculation import Drafter
from gac_app.decoding.trace import StepTrace
from gac_app.errors import MemberError

_LIKELY = 0.01  # the gate's top tokens from this probability on are likely next pieces

T = TypeVar("T")

Spellings = dict[str, tuple[bytes, ...]]  # the pieces of members that spell a token otherwise, by name


@dataclass(frozen=True, slots=True)
class StepView:
    """What a step chooses from.

    Attributes:
        asked: the steps of the members asked, the gate first.
        mixture: of those that take part.
        allowed: the distributions of the members asked, without what the answer's constraints forbid.
    """

    asked: dict[str, MemberStep]
    gate: GateDecision
    mixture: Mixture
    allowed: dict[str, TokenDistribution]


class Stepper:
    """Takes the members of one answer from token to token. Knows no text, no limits and no reasons to finish.

    Args:
        contexts: of the members taking part, the gate first; `close` closes them.
        drafter: asks them, and knows which of them have not failed.
    """

    def __init__(self, contexts: list[MemberContext], rules: AnswerRules, drafter: Drafter) -> None:
        self.contexts = {context.name: context for context in contexts}
        self._dropped: tuple[str, ...] = ()
        self._union = contexts[0].member.mapping.union
        self._rules = rules
        self._drafter = drafter
        self._is_alone = len(contexts) == 1
        self._is_aligned = rules.settings.alignment == "prefix" and not self._is_alone
        self._is_stable = True  # every member read the last token as one of its own
        for context in contexts if self._is_aligned else ():
            context.text.covers.allowed_after = rules.sampler.allowed_U

    @property
    def alive(self) -> dict[str, MemberContext]:
        """Those of the members that have not failed."""
        return self._drafter.alive

    def prepare(self) -> None:
        """Before the first step. Raises SessionStopped, MemberError."""
        if not self._is_alone:
            self._without_failing(lambda: self._rules.weights.prepare(list(self.alive)))

    def step(self, forced: int | None = None, num_left: int = 0) -> Decision:
        """Take one step: ask, mask, align, combine, choose, learn, feed.

        Args:
            forced: the token to feed, whatever the members say; None = the answer's rules choose.
            num_left: later steps at which the rules choose.

        Raises:
            SessionStopped, MemberError, RuleError, ConstraintError.
        """
        num_left = 0 if forced is not None else num_left
        return self._without_failing(lambda: self.feed(self.look(num_left), forced))

    def look(self, num_left: int = 0) -> StepView:
        """The first half of a step: ask the members, and combine what they say. `feed` must follow.

        Args:
            num_left: see `step`.

        Raises:
            SessionStopped, MemberError, RuleError, ConstraintError.
        """
        asked, gate = self._ask(num_left)
        taking_part = asked if gate.is_open else dict(islice(asked.items(), 1))
        shares = self._rules.shares(list(taking_part), lambda name: taking_part[name].distribution)
        is_merged = self._is_aligned and len(taking_part) > 1
        mergeable_U = self._rules.sampler.mergeable_U(len(self._union)) if is_merged else None
        mixture = Mixture(taking_part, shares, self._rules.combiner, self._union if is_merged else None, mergeable_U)
        allowed_U = self._rules.sampler.allowed_U() if self._is_aligned else None
        allowed = {name: given.masked(allowed_U).distribution for name, given in asked.items()}
        return StepView(asked, gate, mixture, allowed)

    def feed(self, view: StepView, forced: int | None) -> Decision:
        """The second half of a step. Only its choice may fail in a way that another step mends.

        Args:
            forced: see `step`.
        """
        chosen = view.mixture.choose(self._rules.sampler) if forced is None else forced
        self._rules.sampler.note(chosen)
        partial, evidence = self._without_failing(lambda: self._meaning_of(chosen, view))
        is_shared = all(ends_there(view.allowed[name], chosen, prob) for name, prob in partial.items())
        self._rules.weights.learn(evidence, is_shared=is_shared)
        is_drafted, drafted_by = self._drafter.has_drafted(chosen), self._drafter.drafted_by
        spellings = self._feed_members(chosen, partial)
        return Decision(
            chosen,
            view.mixture,
            view.gate,
            spellings=spellings,
            dropped=self._dropped,
            evidence=evidence,
            is_partial=bool(partial),
            is_shared=is_shared,
            is_drafted=is_drafted,
            drafted_by=drafted_by,
            is_forced=forced is not None,
        )

    def replay(self, step: StepTrace, token_id: int) -> Spellings:
        """In place of `step`: feed the token of another session's step, and bring weights and contexts to where it left
        them. Members are asked only where they may be inside a token of theirs. Returns how they spell it.
        """
        first, others = self._in_order_asked()
        asked = [*first, *(others if step.is_ensembled else ())]
        if others and step.is_ensembled:
            self._tell_what_is_likely((candidate.token, candidate.prob) for candidate in step.members[0].top)
        if self._is_aligned and (step.is_partial or not all(context.can_skip_forward() for context in asked)):
            return self.step(token_id).spellings
        self._rules.sampler.note(token_id)
        evidence = {m.member: m.prob for m in step.members} | step.evidence
        self._rules.weights.learn(evidence, is_shared=step.is_shared)
        return self._feed_members(token_id, {})

    def prefetch(self) -> None:
        """Start the reads that the next step is sure to need."""
        self._drafter.prefetch(self._in_order_asked()[0])

    def close(self) -> None:
        """Free the members' sequences."""
        for context in self.contexts.values():
            context.close()

    # --- ask

    def _ask(self, num_left: int) -> tuple[dict[str, MemberStep], GateDecision]:
        """The steps of the members asked, the gate first, and the gate's decision.

        A member that fails is no longer `alive`, so the loop begins anew with the next gate, or another member drawn.
        What the others have answered is kept.
        """
        if self._rules.stopped.is_set():
            raise SessionStopped
        if self._is_alone:
            return self._collect(list(self.alive.values())), GateDecision(is_open=True)
        settings = self._rules.settings
        self._drafter.begin_step(*self._in_order_asked(), 0 if settings.asks_lazily else num_left)
        member_steps: dict[str, MemberStep] = {}
        while True:
            first, others = self._in_order_asked()
            drawn = self._rules.sampled_member(list(self.alive))
            others = [context for context in others if drawn in ("", context.name)]
            idle = others if settings.reads_along else []
            member_steps |= self._collect([context for context in first if context.name not in member_steps], idle)
            if first[0].name not in member_steps:
                continue
            asked = [member_steps[context.name].distribution for context in first if context.name in member_steps]
            decision = self._rules.gate.decision_on(asked, is_stable=self._is_stable)
            if decision.is_open and others:
                top = asked[0].top_k(TOP_K)
                self._tell_what_is_likely((self._union.token(token_id), prob) for token_id, prob in top)
                member_steps |= self._collect(others)
            if not drawn or not decision.is_open:
                return member_steps, decision
            if drawn in member_steps:
                return {drawn: member_steps[drawn]}, replace(decision, drawn=drawn)

    def _in_order_asked(self) -> tuple[list[MemberContext], list[MemberContext]]:
        """The members that every step asks, and the others."""
        first = self._rules.asked_first(list(self.alive))
        others = [context for name, context in self.alive.items() if name not in first]
        return [self.alive[name] for name in first], others

    def _tell_what_is_likely(self, top: Iterable[tuple[bytes, float]]) -> None:
        """Tell every context which tokens at the gate's top are likely: members not asked so far may need them."""
        likely = [token for token, prob in top if token and prob >= _LIKELY]
        for context in self.contexts.values():
            context.text.likely = likely

    def _collect(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> dict[str, MemberStep]:
        """Ask these members. A member that fails is dropped if the settings say so; otherwise the session ends.

        Args:
            idle: prefetch while the others are waited for.
        """
        member_steps, errors = self._drafter.gather(contexts, idle)
        for error in sorted(errors, key=lambda error: list(self.contexts).index(error.member)):
            self._drop(error)
        return member_steps

    def _drop(self, error: MemberError) -> None:
        is_dropped = error.member in self._dropped
        if not is_dropped:
            del self.alive[error.member]
            self._dropped += (error.member,)
        if is_dropped or self._rules.settings.on_member_failure == "stop" or not self.alive:
            raise error

    def _without_failing(self, act: Callable[[], T]) -> T:
        """What `act` gives, once no member's server fails that it asks for more."""
        while True:
            try:
                return act()
            except MemberError as error:
                self._drop(error)

    # --- feed

    def _meaning_of(self, token_id: int, view: StepView) -> tuple[dict[str, float], dict[str, float]]:
        """The members whose token may go on beyond this one, with their probability of its bytes; and the evidence:
        each member's probability of the token, or of its bytes if its own may go on.

        A single member proves nothing, so it has no evidence, unless its token is partial. Nor has anybody where no
        weight would learn from it.
        """
        mixture, taking_part = view.mixture, view.mixture.member_steps
        partial: dict[str, float] = {}
        if self._is_aligned and token_id != self._union.end_id:
            ids = self._union.extensions(self._union.tokens[token_id])
            is_conflict = mixture.is_conflict(token_id)
            # A member that decided alone chose one of its own tokens.
            alone = next(iter(taking_part)) if len(taking_part) == 1 else ""
            partial = {
                name: distribution.prob_within(ids)
                for name, distribution in view.allowed.items()
                if name in self.alive
                and (
                    is_conflict
                    or token_id in distribution.partial_ids
                    or (name != alone and len(ids) > 1 and goes_on(distribution, ids))
                )
            }
        if not partial and (len(taking_part) == 1 or not self._rules.weights.has_memory):
            return partial, {}
        found = {name: given.distribution for name, given in taking_part.items() if name in self.alive}
        return partial, {name: partial[name] if name in partial else d.prob_of(token_id) for name, d in found.items()}

    def _feed_members(self, token_id: int, going_on: dict[str, float]) -> Spellings:
        """Feed the token to every member."""
        fed = {name: context.feed(token_id, is_partial=name in going_on) for name, context in self.alive.items()}
        self._drafter.feed(token_id)
        token = self._union.token(token_id)
        spellings = {name: pieces for name, pieces in fed.items() if token and pieces != (token,)}
        self._is_stable = not spellings
        return spellings
