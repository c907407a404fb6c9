"""One decoding step of several members (paper, section 3): ask, combine, choose, feed.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from itertools import islice

import torch

from gac_app.decoding.alignment import begun, contested_ranges, ends_there, goes_on, prepare
from gac_app.decoding.contexts import MemberContext, SessionStopped
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.tracing import TOP_K, Decision
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.speculation import Drafter
from gac_app.decoding.trace import StepTrace

_LIKELY = 0.01  # the gate's top tokens from this probability on are likely next pieces
_LEAST_PROB = 1e-30  # in place of 0, which has no logarithm

Choose = Callable[[torch.Tensor], int]  # probabilities over the union, [U] -> union id


class Stepper:
    """Takes the members of one answer from token to token. Knows no text, no limits and no reasons to finish.

    Args:
        contexts: of the members taking part, the gate first; `close` closes them.
        drafter: asks them.
    """

    def __init__(self, contexts: list[MemberContext], rules: AnswerRules, drafter: Drafter) -> None:
        self.contexts = {context.name: context for context in contexts}
        self.alive = [context.name for context in contexts]
        self._dropped: tuple[str, ...] = ()
        self._union = contexts[0].member.mapping.union
        self._rules = rules
        self._drafter = drafter
        self._is_aligned = rules.settings.alignment == "prefix" and len(contexts) > 1
        self._partial: dict[
            str, float
        ] = {}  # members whose token goes on beyond the chosen one -> their probability of its bytes
        self._is_stable = True  # every member read the last token as one of its own

    def prepare(self) -> None:
        """Before the first step. Raises SessionStopped, MemberError."""
        if len(self.contexts) > 1:
            self._rules.weights.prepare()

    def decide(self, choose: Choose | None = None, num_left: int = 0) -> Decision:
        """Ask the members, combine their distributions, and choose.

        Args:
            choose: chooses the token; None = the answer's rules do.
            num_left: later steps at which the rules choose.

        Raises:
            SessionStopped, MemberError, RuleError.
        """
        if self._rules.stopped.is_set():
            raise SessionStopped
        is_greedy = not choose and self._rules.settings.is_greedy
        choose = choose or self._rules.sampler.choose
        if len(self.contexts) == 1:
            return self._decide_alone(choose, is_greedy=is_greedy)
        may_draft = is_greedy and not self._rules.settings.asks_lazily
        self._drafter.begin_step(*self._in_order_asked(), num_left if may_draft else 0)
        asked, gate = self._ask()
        mixture = self._combine(asked, gate)
        token_id = mixture.argmax_id if is_greedy else choose(mixture.probs_U)
        self._partial = self._inside(token_id, asked, gate, is_contested=mixture.is_contested(token_id))
        probs = {
            name: self._partial.get(name, e.distribution.prob_of(token_id)) for name, e in mixture.member_steps.items()
        }
        is_shared = all(ends_there(asked[name].distribution, token_id, prob) for name, prob in self._partial.items())
        self._note(probs, is_shared=is_shared)
        return Decision(
            token_id,
            mixture,
            gate_confidence=gate.confidence,
            dropped=self._dropped,
            evidence=probs,
            is_partial=bool(self._partial),
            is_shared=is_shared,
            is_drafted=self._drafter.has_drafted(token_id),
            drawn=gate.drawn,
        )

    def feed(self, token_id: int) -> dict[str, tuple[bytes, ...]]:
        """Feed the chosen token to every member. Returns, by name, the pieces of members that spell it otherwise."""
        fed = {name: self.contexts[name].feed(token_id, is_partial=name in self._partial) for name in self.alive}
        self._partial = {}
        self._drafter.feed(token_id)
        token = self._union.token(token_id)
        spellings = {name: pieces for name, pieces in fed.items() if token and pieces != (token,)}
        self._is_stable = not spellings
        return spellings

    def prefetch(self) -> None:
        """Start the reads that the next step is sure to need."""
        self._drafter.prefetch(*self._in_order_asked())

    def recall(self, step: StepTrace, token_id: int) -> None:
        """Before `feed`, in the place of `decide`: bring weights and contexts to where a step of another session left
        them. Members are asked only where they may be inside a token of theirs.
        """
        first, others = self._in_order_asked()
        asked = [*first, *(others if step.is_ensembled else ())]
        if others and step.is_ensembled:
            self._tell_what_is_likely((candidate.token, candidate.prob) for candidate in step.members[0].top)
        if self._is_aligned and (step.is_partial or not all(context.recall() for context in asked)):
            self.decide(lambda _: token_id)
            return
        given = {member.member: member.prob for member in step.members}
        self._note({**given, **step.evidence}, is_shared=step.is_shared)

    def close(self) -> None:
        """Free the members' sequences."""
        for context in self.contexts.values():
            context.close()

    # --- asking

    def _decide_alone(self, choose: Choose, *, is_greedy: bool) -> Decision:
        """Let the only member decide. Apart from its argmax, everything is computed when the step is traced."""
        [(name, member_step)] = self._collect(list(self.contexts.values())).items()
        token_id = member_step.argmax_id if is_greedy else choose(member_step.distribution.probs_U)
        return Decision(token_id, Mixture({name: member_step}, {name: 1.0}))

    def _in_order_asked(self) -> tuple[list[MemberContext], list[MemberContext]]:
        """The members that every step asks, and the others."""
        first = self._rules.asked_first(self.alive)
        others = [name for name in self.alive if name not in first]
        return [self.contexts[name] for name in first], [self.contexts[name] for name in others]

    def _ask(self) -> tuple[dict[str, MemberStep], GateDecision]:
        """The steps of the members asked, the gate first, and the gate's decision."""
        member_steps: dict[str, MemberStep] = {}
        while True:
            first, others = self._in_order_asked()
            drawn = self._rules.drawn(self.alive)
            others = [context for context in others if drawn in ("", context.name)]
            idle = others if self._rules.settings.reads_along else []
            member_steps |= self._collect([context for context in first if context.name not in member_steps], idle)
            if first[0].name not in member_steps:
                continue  # the gate failed: the next member is the gate now
            asked = [member_steps[context.name] for context in first if context.name in member_steps]
            views = [self._rules.gate.view(member_step.distribution) for member_step in asked]
            decision = self._rules.gate.decide(views, is_stable=self._is_stable)
            if decision.is_open and others:
                top = asked[0].top_k(TOP_K)
                self._tell_what_is_likely((self._union.token(token_id), prob) for token_id, prob in top)
                member_steps |= self._collect(others)
            if not drawn or not decision.is_open:
                return member_steps, decision
            if drawn in member_steps:
                return {drawn: member_steps[drawn]}, replace(decision, drawn=drawn)

    def _tell_what_is_likely(self, top: Iterable[tuple[bytes, float]]) -> None:
        """Tell every context which pieces the gate finds likely: members not asked so far may need them.

        Args:
            top: the gate's likeliest tokens with their probabilities.
        """
        likely = [token for token, prob in top if token and prob >= _LIKELY]
        for context in self.contexts.values():
            context.text.likely = likely

    def _collect(
        self, contexts: SequenceOf[MemberContext], idle: SequenceOf[MemberContext] = ()
    ) -> dict[str, MemberStep]:
        """Ask these members. A member that fails is dropped if the settings say so; otherwise the session ends.

        Args:
            idle: prefetch while the others are waited for.
        """
        member_steps, errors = self._drafter.gather(contexts, self._rules.stopped, idle, self._prepare)
        for error in errors:
            self.alive.remove(error.member)
            self._dropped += (error.member,)
            if self._rules.settings.on_member_failure == "stop" or not self.alive:
                raise error
        return member_steps

    # --- combining, after alignment

    def _prepare(self, member_steps: dict[str, MemberStep]) -> None:
        """Precompute from the first members' steps while others are waited for."""
        *_, last = member_steps.values()
        # Only on a CPU: on a GPU, each single value would wait for the device.
        if self._is_aligned and last.distribution.is_on_cpu:
            prepare(last, self._union)

    def _combine(self, asked: dict[str, MemberStep], gate: GateDecision) -> Mixture:
        member_steps = asked if gate.is_open else dict(islice(asked.items(), 1))
        shares = self._rules.shares({name: member_step.distribution for name, member_step in member_steps.items()})
        ranges = (
            contested_ranges(member_steps, shares, self._union) if self._is_aligned and len(member_steps) > 1 else []
        )
        return Mixture(member_steps, shares, self._rules.combiner, ranges)

    def _inside(
        self, token_id: int, asked: dict[str, MemberStep], gate: GateDecision, *, is_contested: bool
    ) -> dict[str, float]:
        """The members that may now be inside a longer token, with their probability of the chosen token's bytes."""
        if not self._is_aligned or token_id == self._union.end_id:
            return {}
        ids = self._union.extensions(self._union.tokens[token_id])
        alone = "" if len(asked) > 1 and gate.is_open else next(iter(asked))  # this member chose one of its own tokens
        return {
            name: begun(e.distribution, ids)
            for name, e in asked.items()
            if is_contested
            or token_id in e.distribution.partial_ids
            or (name != alone and len(ids) > 1 and goes_on(e.distribution, ids))
        }

    def _note(self, probs: dict[str, float], *, is_shared: bool) -> None:
        """Let the weights learn from each member's probability of the chosen token. A single member proves nothing."""
        log_probs = {name: math.log(max(prob, _LEAST_PROB)) for name, prob in probs.items()}
        self._rules.weights.note(log_probs if len(probs) > 1 else {}, is_shared=is_shared or len(probs) == 1)
