"""`Speculator`: asks the members of an answer for what its steps need, and lets them read likely tokens before these
are chosen.

Such *draft tokens* come from a member or from the text itself (`proposers`, `lookup`). The members that have not
drafted them *verify* several in one forward pass, each in its own ids, and the following steps find their distributions
ready. A draft token that is chosen is *accepted*. If another token, the *recovered* one, is chosen, the rest of the
draft is dropped. So every step chooses from the same distribution as plain decoding, by the same rule and with the same
random numbers, and the text is the same, sampled or not. A draft token is drawn with the random numbers of its place,
so it is accepted nearly as often as by rejection sampling (arXiv 2211.17192; on the default members 80 % to 82 % at
temperature 0.7, 73 % to 76 % at 1). With rejection sampling the text would depend on the length of the draft, hence on
the clock. Drafts over members of equal vocabularies: arXiv 2502.01662. With alignment "prefix" a step may choose a
piece that some members cut differently from the draft. They then read it as they would without a draft.

No draft delays a pass. The fastest member would wait for the slowest at each step. Instead it drafts meanwhile. If its
first draft token is chosen, it mostly knows the next one by the end of the step. The others read both in the pass that
is due: a pass over two ids takes little longer than over one. Where the member has no draft, the text may have one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from queue import SimpleQueue

from gac_app.decoding.contexts import MemberContext, gather
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation.draft_costs import best_length
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.decoding.speculation.proposers import DraftToken, OwnDraft, Proposer, choice_alone
from gac_app.errors import MemberError

_MAX_OWN = 2  # tokens that a member drafts beyond those fed, while others are waited for
_MAX_GUESS = 7  # tokens of a draft from the text
_MUCH_FASTER = 1.5  # times as fast as any other, to draft: at a recovered token it may be busy with a rejected one

Gathered = tuple[dict[str, MemberStep], list[MemberError]]


class Speculator:
    """Asks members, in the order that costs least.

    Args:
        is_drafting: whether members may draft; see `schedule`.

    Attributes:
        alive: the contexts of all members that have not failed, by name, the gate first.
    """

    def __init__(self, contexts: Sequence[MemberContext], rules: AnswerRules, *, is_drafting: bool = False) -> None:
        self.alive = {context.name: context for context in contexts}
        self._is_drafting = is_drafting
        self._draft: list[DraftToken] = []
        self._num_left = 0
        self._own = OwnDraft()
        self._proposers: list[Proposer] = []
        if is_drafting:
            self._proposers = [self._own, PromptLookup(contexts[0].prompt_tokens)]
            for context in contexts if not rules.settings.is_greedy else ():
                context.reads.new_sample = partial(choice_alone, rules.sampler)
        ended = SimpleQueue[None]()
        for context in contexts:
            context.reads.ended = ended
        self._idle: Sequence[MemberContext] = ()  # of members that this step has not asked
        self._answered: set[str] = set()  # those done with this step

    def begin_step(self, first: Sequence[MemberContext], others: Sequence[MemberContext], num_left: int) -> None:
        """A step begins: `first` are asked, then maybe the `others`.

        Args:
            num_left: steps that may follow and at which, like at this one, the rules choose; 0 = this step's token may
                be forced.
        """
        self._num_left, self._own.context = num_left, None
        self._answered.clear()
        if self._is_drafting and len(self.alive) > 1:
            self._choose_own(first, others)

    def gather(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> Gathered:
        """The steps of these members, by name, and what failed.

        Args:
            idle: of members that are not asked; they read along.

        Raises:
            SessionStopped: soon after the answer is stopped.
        """
        self._idle = idle
        steps, errors = self._ask(contexts)
        self._answered.update(steps)
        return steps, errors

    def has_drafted(self, token_id: int) -> bool:
        """Whether this is the first draft token."""
        return bool(self._draft) and self._draft[0].token_id == token_id

    @property
    def drafted_by(self) -> tuple[str, ...] | None:
        """Whose the first draft token is; see `StepTrace`."""
        return self._draft[0].drafted_by if self._draft else None

    def feed(self, token_id: int) -> None:
        """A token was decided, and fed to the contexts."""
        if self._draft:
            self._draft = self._draft[1:] if self.has_drafted(token_id) else []
        for proposer in self._proposers:
            proposer.note(token_id)

    def prefetch(self, contexts: Iterable[MemberContext]) -> None:
        """Begin the passes that the next step is sure to need, so that members compute while this step is reported."""
        if self._is_drafting:
            self._draft_ahead()
        for context in contexts:
            context.prefetch()

    def _ask(self, contexts: Sequence[MemberContext]) -> Gathered:
        """Ask these members. A member that fails with a draft is asked again without it."""
        steps, errors = gather(sorted(contexts, key=_pass_s), self._idle, self._meanwhile)
        if self._draft and (again := [error.member for error in errors if error.kind != "timeout"]):
            self._draft = []
            for context in self.alive.values():
                context.drop_draft()
            found, failed = gather([self.alive[name] for name in again])
            errors = [error for error in errors if error.member not in again] + failed
            steps |= found
        return {context.name: steps[context.name] for context in contexts if context.name in steps}, errors

    # --- drafts

    def _choose_own(self, first: Sequence[MemberContext], others: Sequence[MemberContext]) -> None:
        """Let the fastest member draft while it would wait, where that is of use."""
        fastest, *slower = self._by_pace
        is_idle = fastest not in first
        self._own.is_for_others = is_idle or not others
        verifying = [other for other in slower if other in first] if self._own.is_for_others else []
        is_useful = all(other.member.model.is_chunk_invariant for other in verifying)
        is_faster = all(0 < _MUCH_FASTER * _pass_s(fastest) <= _pass_s(other) for other in slower)
        if self._num_left and is_useful and is_faster and fastest.may_read_ahead:
            self._own.context = fastest

    def _meanwhile(self, answered: Collection[str]) -> None:
        """These members have answered. The drafting one goes on once this step needs no pass of it."""
        self._answered.update(answered)
        own = self._own.context
        if own and (own.name in self._answered or own in self._idle):
            own.extend_own_draft(min(_MAX_OWN, self._num_left))

    def _draft_ahead(self) -> None:
        """Let the pass that is due read a draft, of those who have not drafted it."""
        most = min(_MAX_GUESS, self._num_left - 1)
        draft = next(filter(None, [proposer.propose(most) for proposer in self._proposers]), [])
        verifying = [
            context
            for context in self.alive.values()
            if context.member.model.is_chunk_invariant and context is not self._own.context
        ]
        if not draft or not verifying:
            return
        if draft[0].confidence < 1:  # while others use a member, longer passes would cost them more than they bring
            is_alone = all(context.is_alone for context in self.alive.values())
            confidences = [token.confidence for token in draft] if is_alone else []
            draft = draft[: best_length(confidences, partial(_slowest_s, verifying))]
        num_taken = max(context.add_draft(token.token_id for token in draft) for context in verifying)
        if num_taken:
            self._draft = draft[:num_taken]

    @property
    def _by_pace(self) -> list[MemberContext]:
        """The fastest first; those whose pace is not known last."""
        return sorted(self.alive.values(), key=lambda context: _pass_s(context) or math.inf)


def _pass_s(context: MemberContext, num_ids: int = 1) -> float:
    """Seconds of the member's pass over so many ids; 0 = not known."""
    return context.member.model.costs.seconds(num_ids)


def _slowest_s(contexts: Iterable[MemberContext], num_ids: int) -> float:
    """Of the slowest member."""
    return max(_pass_s(context, num_ids) for context in contexts)
