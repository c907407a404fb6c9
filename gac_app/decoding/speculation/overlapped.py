"""Overlapped drafts: the fastest member reads its own argmax tokens while the others compute. Nobody waits for them.

In greedy decoding, where all members are asked at every step or read along with a slower gate, the fastest member would
wait for the slowest at each step. Instead it reads its argmax as if that were chosen, then the argmax after it. If its
argmax *is* chosen, it mostly knows the next one by the end of the step. The others then read the chosen token and, in
the same forward pass, this draft token. If it is accepted, they need no pass for the step after.

A pass over two ids takes little longer than over one. Where a back end says so (`Member.is_chunk_invariant`), it gives
the same bits as two passes, so drafts do not change the answer. No draft delays the members' next pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf

from gac_app.decoding.contexts import MemberContext, OnStep
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation.drafter import Drafter, Gathered

_MAX_DRAFT = 2  # tokens that the drafting member reads beyond those fed
_MUCH_FASTER = 1.5  # times as fast as any other, to draft: at a recovered token it may be busy with a rejected one


class OverlappedDrafter(Drafter):
    """Lets a member draft while it would wait for the others."""

    def __init__(self, contexts: SequenceOf[MemberContext], rules: AnswerRules) -> None:
        super().__init__(contexts, rules)
        self._drafting: MemberContext | None = None
        self._max_draft = 0
        self._can_offer = False
        self._answered: set[str] = set()  # those done with this step

    def begin_step(self, first: SequenceOf[MemberContext], others: SequenceOf[MemberContext], num_left: int) -> None:
        self._drafting, self._max_draft = None, min(_MAX_DRAFT, num_left)
        self._answered.clear()
        for context in self.alive.values():
            context.max_draft = 0
        if num_left and len(self.alive) > 1:
            fastest, *slower = sorted(self.alive.values(), key=_pass_s)
            is_idle = fastest not in first
            is_for_others = is_idle or not others
            self._can_offer = is_for_others and num_left > 1
            is_useful = not is_for_others or all(other.member.is_chunk_invariant for other in slower if other in first)
            is_faster = all(_pass_s(other) >= _MUCH_FASTER * _pass_s(fastest) for other in slower)
            if is_useful and is_faster and fastest.usage.num_forwards and fastest.may_read_ahead:
                self._drafting = fastest
                fastest.max_draft = self._max_draft if is_idle else 0

    def gather(
        self,
        contexts: SequenceOf[MemberContext],
        idle: SequenceOf[MemberContext] = (),
        on_step: OnStep | None = None,
    ) -> Gathered:
        if not self._drafting:
            return super().gather(contexts, idle, on_step)

        def meanwhile(steps: dict[str, MemberStep]) -> None:
            self._draft_on(steps)
            if on_step:
                on_step(steps)

        if contexts:
            self._draft_on(())
        steps, errors = super().gather(contexts, idle, meanwhile)
        self._answered.update(steps)
        return steps, errors

    def has_drafted(self, token_id: int) -> bool:
        return any(context.draft.begins_with(token_id) for context in self.alive.values())

    def prefetch(self, first: Iterable[MemberContext], others: Iterable[MemberContext]) -> None:
        """See `Drafter`. The others read the draft token, if there is one, in the same pass as what they have to
        read.
        """
        draft_id = self._drafting.next_argmax() if self._drafting and self._can_offer else None
        if draft_id is not None:
            for context in self.alive.values():
                if context is not self._drafting and context.can_verify(draft_id):
                    context.draft.append(draft_id)
        super().prefetch(first, others)

    def _draft_on(self, answered: Iterable[str]) -> None:
        """Extend the draft while others compute, once the drafting member is done with this step."""
        self._answered.update(answered)
        if self._drafting and self._drafting.name in self._answered:
            self._drafting.extend_own_draft(self._max_draft)


def _pass_s(context: MemberContext) -> float:
    """Mean seconds per pass."""
    return context.usage.seconds / max(1, context.usage.num_forwards)
