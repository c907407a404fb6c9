"""Overlapped drafts: the fastest member reads its own likely tokens while the others compute. Nobody waits for them.

Where all members are asked at every step or read along with a slower gate, the fastest member would wait for the
slowest at each step. Instead it reads what would be chosen from its distribution alone, by the answer's rules and with
the random numbers of that place, as if it were chosen; then the token after it. If it *is* chosen, the member mostly
knows the next one by the end of the step. The others then read the chosen token and, in the same forward pass, this
draft token. If it is accepted, they need no pass for the step after.

A pass over two ids takes little longer than over one. Where a back end says so (`Model.is_chunk_invariant`), it gives
the same bits as two passes, so drafts do not change the answer. No draft delays the members' next pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from gac_app.decoding.contexts import MemberContext, SampleFn
from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.rules.sampling import Sampler
from gac_app.decoding.speculation.draft_costs import MAX_GUESS, DraftCosts
from gac_app.decoding.speculation.drafter import Drafter, DraftToken, Gathered
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.errors import ConstraintError

_MAX_DRAFT = 2  # tokens that the drafting member reads beyond those fed
_MUCH_FASTER = 1.5  # times as fast as any other, to draft: at a recovered token it may be busy with a rejected one


class OverlappedDrafter(Drafter):
    """Lets a member draft while it would wait for the others. Where it has no draft, prompt lookup may have one.

    Args:
        costs: measured, shared with other sessions.
    """

    def __init__(self, contexts: Sequence[MemberContext], rules: AnswerRules, costs: DraftCosts) -> None:
        super().__init__(contexts, rules)
        self._costs, self._lookup = costs, PromptLookup(contexts[0].prompt_tokens)
        if not rules.settings.is_greedy:
            for context in contexts:
                context.draft_by(partial(_choice, rules.sampler))
        self._drafting: MemberContext | None = None
        self._max_draft = self._max_guess = 0
        self._can_offer = False
        self._answered: set[str] = set()  # those done with this step

    def begin_step(self, first: Sequence[MemberContext], others: Sequence[MemberContext], num_left: int) -> None:
        self._drafting, self._max_draft = None, min(_MAX_DRAFT, num_left)
        self._max_guess = min(MAX_GUESS, num_left - 1)
        self._answered.clear()
        for context in self.alive.values():
            context.max_draft = 0
        if num_left and len(self.alive) > 1:
            fastest, *slower = sorted(self.alive.values(), key=_pass_s)
            is_idle = fastest not in first
            is_for_others = is_idle or not others
            self._can_offer = is_for_others and num_left > 1
            is_useful = not is_for_others or all(
                other.member.model.is_chunk_invariant for other in slower if other in first
            )
            is_faster = all(_pass_s(other) >= _MUCH_FASTER * _pass_s(fastest) for other in slower)
            if is_useful and is_faster and fastest.usage.num_forwards and fastest.may_read_ahead:
                self._drafting = fastest
                fastest.max_draft = self._max_draft if is_idle else 0

    def gather(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> Gathered:
        if contexts:
            self._meanwhile(())
        steps, errors = super().gather(contexts, idle)
        self._answered.update(steps)
        slowest = max(self.alive.values(), key=_pass_s)
        step = steps.get(slowest.name)
        if step and 0 < step.num_read <= MAX_GUESS + 1:
            self._costs.note_verifying(step.num_read, step.seconds)
        return steps, errors

    def feed(self, token_id: int) -> None:
        super().feed(token_id)
        self._lookup.add(token_id)

    def prefetch(self, contexts: Iterable[MemberContext]) -> None:
        """See `Drafter`. The others read the draft token, if there is one, in the same pass as what they have to read;
        otherwise a draft from prompt lookup. The drafting member does not read that: it would draft less by itself.
        """
        guess, acceptances = self._lookup.guess(self._max_guess) if self._max_guess > 0 else ([], [])
        draft_id = self._drafting.next_draft_id() if self._drafting and self._can_offer else None
        draft, made_by = [] if draft_id is None else [draft_id], (self._drafting.name,) if self._drafting else ()
        if guess and not draft and all(context.is_alone for context in self.alive.values()):
            draft, made_by = guess[: self._costs.best_length(acceptances)], ()
        verifying = [c for c in self.alive.values() if c.member.model.is_chunk_invariant and c is not self._drafting]
        num_taken = max((context.add_draft(draft) for context in verifying), default=0) if draft else 0
        if num_taken:
            self._draft = [DraftToken(token_id, made_by) for token_id in draft[:num_taken]]
        super().prefetch(contexts)

    def _meanwhile(self, answered: Iterable[str]) -> None:
        """Extend the draft while others compute, once the drafting member is done with this step."""
        self._answered.update(answered)
        if self._drafting and self._drafting.name in self._answered:
            self._drafting.extend_own_draft(self._max_draft)


def _choice(sampler: Sampler) -> SampleFn:
    """What would be chosen from one member's distributions alone, from the answer's end on."""
    forked = sampler.fork()

    def choose(distribution: TokenDistribution) -> int | None:
        try:
            return forked.choose(distribution.estimate.probs_U)
        except ConstraintError:  # it leaves nothing, and the place may never come
            return None

    return choose


def _pass_s(context: MemberContext) -> float:
    """Mean seconds per pass."""
    return context.usage.seconds / max(1, context.usage.num_forwards)
