"""The members of one answer: which of them a step asks, what they are fed, and which have failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from gac_app.decoding.contexts import MemberContext
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.loop.tracing import TOP_K
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.speculation import Speculator
from gac_app.errors import MemberError, SessionStopped

_LIKELY = 0.01  # the gate's top tokens from this probability on are likely next pieces

T = TypeVar("T")


class Members:
    """Asks and feeds the members, and drops those that fail.

    Args:
        contexts: the gate's first; `close` closes them.
        speculator: asks them, and knows which of them have not failed.

    Attributes:
        contexts: of all, by name.
        alive: of those that have not failed.
        dropped: names of those that have failed.
    """

    def __init__(self, contexts: list[MemberContext], rules: AnswerRules, speculator: Speculator) -> None:
        self.contexts = {context.name: context for context in contexts}
        self.dropped: tuple[str, ...] = ()
        self._union = contexts[0].member.mapping.union
        self._rules = rules
        self._speculator, self.alive = speculator, speculator.alive
        self._is_stable = True  # every member read the last token as one of its own

    def ask(self, num_left: int) -> tuple[dict[str, MemberStep], GateDecision]:
        """The steps of the members asked, the gate first, and the gate's decision.

        A member that fails is no longer `alive`, so the loop begins anew with the next gate, or another member drawn.
        What the others have answered is kept.

        Args:
            num_left: later steps at which the rules choose.

        Raises:
            SessionStopped, MemberError, RuleError.
        """
        rules, settings = self._rules, self._rules.settings
        if rules.stopped.is_set():
            raise SessionStopped
        if len(self.contexts) == 1:
            return self._collect(list(self.alive.values())), GateDecision(is_open=True)
        self.without_failing(lambda: rules.weights.prepare(list(self.alive)))
        first, others = self.in_order_asked()
        self._speculator.begin_step(first, others, num_left)
        member_steps: dict[str, MemberStep] = {}
        while True:
            drawn = rules.sampled_member(list(self.alive))
            if drawn:
                others = [context for context in others if context.name == drawn]
            idle = others if settings.reads_along else []
            member_steps |= self._collect([context for context in first if context.name not in member_steps], idle)
            if first[0].name in member_steps:
                asked = [member_steps[context.name].distribution for context in first if context.name in member_steps]
                decision = rules.gate.decision_on(asked, is_stable=self._is_stable)
                if decision.is_open and others:
                    top = asked[0].estimate.top_k(TOP_K)
                    self.tell_likely((self._union.token(token_id), prob) for token_id, prob in top)
                    member_steps |= self._collect(others)
                if not drawn or not decision.is_open:
                    return member_steps, decision
                if drawn in member_steps:
                    return {drawn: member_steps[drawn]}, replace(decision, drawn=drawn)
            first, others = self.in_order_asked()

    def in_order_asked(self) -> tuple[list[MemberContext], list[MemberContext]]:
        """The members that every step asks, and the others."""
        alive = self.alive
        first = self._rules.asked_first(list(alive))
        return [alive[name] for name in first], [context for name, context in alive.items() if name not in first]

    def tell_likely(self, top: Iterable[tuple[bytes, float]]) -> None:
        """Tell every context which tokens at the gate's top are likely: members not asked so far may need them."""
        likely = [token for token, prob in top if token and prob >= _LIKELY]
        for context in self.contexts.values():
            context.text.likely = likely

    def feed(self, token_id: int, partial: Collection[str]) -> dict[str, tuple[bytes, ...]]:
        """Feed the token to every member; one that fails is dropped, and the others have it. Returns the pieces of
        members that spell it otherwise, by name.

        Args:
            partial: names of the members whose token may go on beyond this one.
        """
        token, fed = self._union.token(token_id), {}
        for name, context in [*self.alive.items()]:
            try:
                fed[name] = context.feed(token_id, is_partial=name in partial)
            except MemberError as error:
                self._drop(error)
        self._speculator.feed(token_id)
        spellings = {name: pieces for name, pieces in fed.items() if token and pieces != (token,)}
        self._is_stable = not spellings
        return spellings

    def without_failing(self, act: Callable[[], T]) -> T:
        """What `act` gives, once no member fails that it asks for more."""
        while True:
            try:
                return act()
            except MemberError as error:
                self._drop(error)

    def close(self) -> None:
        """Free the members' sequences."""
        for context in self.contexts.values():
            context.close()

    def _collect(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> dict[str, MemberStep]:
        """Ask these members. A member that fails is dropped if the settings say so; otherwise the session ends.

        Args:
            idle: prefetch while the others are waited for.
        """
        member_steps, errors = self._speculator.gather(contexts, idle)
        for error in sorted(errors, key=lambda error: list(self.contexts).index(error.member)):
            self._drop(error)
        return member_steps

    def _drop(self, error: MemberError) -> None:
        is_dropped = error.member in self.dropped
        if not is_dropped:
            del self.alive[error.member]
            self.dropped += (error.member,)
        if is_dropped or self._rules.settings.on_member_failure == "stop" or not self.alive:
            raise error
