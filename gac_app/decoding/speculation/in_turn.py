"""Drafting in turn: one member drafts, then the others verify several places of its draft in one pass.

The drafting member is the gate if there is one, else the one whose drafts pay best. It reads *draft tokens*: what would
be chosen from the distributions known so far. The others then read the whole draft at once, each in its own ids. The
following steps find their distributions ready and choose from the combined ones as always. A draft token that is chosen
is *accepted*. If another token, the *recovered* one, is chosen, the rest of the draft is dropped. When a draft is
accepted to its end, the others know one more place. What they would choose there, the *bonus
token*, begins the next draft: members verify each other in turn.

So every step chooses from the same distribution as plain decoding, by the same rule and with the same random numbers,
and the text is the same, sampled or not. A draft token is drawn with the random numbers of its place, so it is accepted
nearly as often as by rejection sampling (arXiv 2211.17192; on the default members 80 % to 82 % at temperature 0.7, 73 %
to 76 % at 1). With rejection sampling the text would depend on the length of the draft, hence on the clock. Drafts over
members of equal vocabularies: arXiv 2502.01662.

With alignment "prefix" a step may choose a piece that some members cut differently from the draft. They then read it as
they would without a draft.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gac_app.decoding.contexts import MemberContext
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation.draft_costs import DraftCosts
from gac_app.decoding.speculation.drafter import Drafter, DraftToken, Gathered
from gac_app.errors import ConstraintError, MemberError, RuleError


class InTurnDrafter(Drafter):
    """Asks members before a step needs them, in an order that saves passes.

    Args:
        costs: measured costs and acceptance, shared with other sessions.
    """

    def __init__(self, contexts: Sequence[MemberContext], rules: AnswerRules, costs: DraftCosts) -> None:
        super().__init__(contexts, rules)
        self._union = contexts[0].member.mapping.union
        self._sampler = rules.sampler  # a copy of it, which chooses draft tokens
        self._costs = costs
        self._is_drafting = False
        self._num_fed = 0
        self._num_verified = 0  # steps that asked members other than the gate
        self._step = _Step()

    def feed(self, token_id: int) -> None:
        if self._draft and not self._draft[0].is_certain:
            self._costs.note_draft_token(self._draft[0].confidence, is_accepted=self.has_drafted(token_id))
        super().feed(token_id)
        if len(self._step.argmaxes) > 1:
            for name, argmax_id in self._step.argmaxes.items():
                self._costs.note_argmax(name, is_chosen=argmax_id == token_id)
        self._num_fed += 1
        self._num_verified += self._step.is_verified
        if self._step.is_typical and self._step.argmaxes:  # a replayed step asks nobody
            self._costs.note_step(self._step.seconds, is_drafting=self._is_drafting or self._step.is_drafted)
        self._step = _Step()
        self._is_drafting = self._costs.is_measured and (
            self._rules.settings.speculation == "on" or self._costs.is_worth_drafting()
        )

    def gather(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> Gathered:
        """See `Drafter`; more may be read than the step needs. `idle` is not used."""
        drafter = self._drafting
        self._step.is_verified |= any(context is not drafter for context in contexts)
        self._step.is_drafted |= any(context.is_known for context in contexts)
        self._step.is_typical &= all(context.is_known or context.usage.num_forwards > 0 for context in contexts)
        errors: list[MemberError] = []
        if self._is_drafting:
            if drafter in contexts and not drafter.is_known:
                self._lengthen()  # the bonus token, where the others know the place already
                errors = self._read([drafter])[1]
            if not errors and not all(context.is_known for context in contexts):
                errors = self._draft_on(drafter)
        failed = {error.member for error in errors}
        steps, more = self._read([context for context in contexts if context.name not in failed])
        self._step.argmaxes |= {name: given.distribution.argmax_id for name, given in steps.items()}
        return steps, errors + more

    def prefetch(self, contexts: Iterable[MemberContext]) -> None:
        """Do nothing: the next reads are decided when the next step asks."""

    @property
    def _is_gated(self) -> bool:
        return len(self._rules.gate.asked_first(list(self.alive))) < len(self.alive)

    @property
    def _drafting(self) -> MemberContext:
        names = list(self.alive)
        return self.alive[names[0] if self._is_gated else self._costs.best_drafter(names)]

    def _read(self, contexts: list[MemberContext]) -> Gathered:
        """Ask these members. A member that fails with a draft is asked again without it."""
        unread = {context.name: context.num_uncomputed for context in contexts if not context.is_read}
        started = time.monotonic()
        steps, errors = super().gather(contexts)
        if self._draft and (again := [error.member for error in errors if error.kind != "timeout"]):
            self._drop_draft()
            found, failed = super().gather([self.alive[name] for name in again])
            errors = [error for error in errors if error.member not in again] + failed
            steps |= found
            steps = {context.name: steps[context.name] for context in contexts if context.name in steps}
        seconds = time.monotonic() - started
        self._step.seconds += seconds
        if unread and self._step.is_typical and not errors:
            self._note_passes(unread, steps, seconds)
        return steps, errors

    def _note_passes(self, unread: dict[str, int], steps: dict[str, MemberStep], seconds: float) -> None:
        if self._drafting.name not in unread:
            self._costs.note_verifying(max(unread.values()), seconds)
        elif len(unread) == 1:
            self._costs.draft.note(seconds)
        elif max(unread.values()) == 1:
            for name in unread:
                self._costs.note_plain_pass(name, steps[name].seconds)

    # --- drafting

    def _draft_on(self, drafter: MemberContext) -> list[MemberError]:
        """Lengthen the draft while that pays; the drafting member reads each new token."""
        while self._lengthen() and self._is_worth_reading():
            drafter.num_wanted = len(self._draft) + 1
            _, errors = self._read([drafter])
            drafter.num_wanted = 1
            if errors or not self._draft:
                return errors
        return []

    def _lengthen(self) -> bool:
        """Add to the draft what the members that know its end would choose there; False if nothing was added."""
        place = len(self._draft)
        known = {name: step for name, c in self.alive.items() if (step := c.step_at(place))}
        if not known or self._num_fed + place + 1 >= self._rules.settings.max_new_tokens:
            return False
        distributions = {name: step.distribution for name, step in known.items()}
        try:
            shares = self._rules.shares(list(distributions), distributions.__getitem__)
            probs_U = self._rules.combiner({name: d.probs_U for name, d in distributions.items()}, shares)
            gate = distributions.get(next(iter(self.alive)))
            is_certain = bool(
                self._is_gated and gate and not self._rules.gate.decision_on([gate], is_stable=True).is_open
            )
            if not place:
                self._sampler = self._rules.sampler.fork()
            token_id = self._sampler.choose(probs_U)
        # Best effort: stop drafting; the real step reports the error.
        except (RuleError, ConstraintError):
            return False
        if token_id == self._union.end_id or not all(c.draft.has_room_for(token_id) for c in self.alive.values()):
            return False
        self._draft.append(DraftToken(token_id, tuple(known), min(1.0, float(probs_U[token_id])), is_certain))
        for context in self.alive.values():
            context.draft.append(token_id)
        return True

    def _is_worth_reading(self) -> bool:
        """Whether the drafting member should read the draft's last token now, so that the draft can grow."""
        survival, num_settled = 1.0, 1.0
        for token in self._draft:
            if not token.is_certain:
                survival *= self._costs.acceptance(token.confidence)
                num_settled += survival
        share_asked = (self._num_verified + 1) / (self._num_fed + 1) if self._is_gated else 1.0
        num_ids = max(context.num_uncomputed for context in self.alive.values() if not context.is_known)
        return self._costs.goes_on(survival, num_settled, share_asked, num_ids)

    def _drop_draft(self) -> None:
        self._draft = []
        for context in self.alive.values():
            context.drop_draft()


@dataclass(slots=True)
class _Step:
    """Measurements of the current step."""

    seconds: float = 0.0  # waited for members
    argmaxes: dict[str, int] = field(default_factory=dict)  # by member that takes part
    is_verified: bool = False
    is_drafted: bool = False  # an earlier draft saved it a pass, so its time says nothing about plain decoding
    is_typical: bool = True  # no member reads a whole prompt
