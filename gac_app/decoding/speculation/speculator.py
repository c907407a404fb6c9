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

Proposers are asked at one of two times:

- *Overlapped*, between two steps. The fastest member would wait for the slowest at each step. Instead it drafts
  meanwhile. If its first draft token is chosen, it mostly knows the next one by the end of the step. The others read
  both in the pass that is due. A pass over two ids takes little longer than over one. No draft delays a pass. Where the
  member has no draft, the text may have one.
- *In turn*, before a step asks. One member drafts, and the session waits for it: the gate if there is one, else the
  fastest. Then the others verify. Where they accept a draft to its end, they know one more place: what
  they would choose there, the *bonus token*, begins the next draft. So members verify each other in turn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

from gac_app.decoding.contexts import MemberContext, gather
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation.draft_costs import DraftCosts, best_length, pays
from gac_app.decoding.speculation.lookup import PromptLookup
from gac_app.decoding.speculation.proposers import DraftToken, KnownPlaces, OwnDraft, Proposer, choice_alone
from gac_app.decoding.speculation.schedule import When
from gac_app.errors import MemberError

_MAX_OWN = 2  # tokens that a member drafts beyond those fed, while others are waited for
_MAX_GUESS = 7  # tokens of a draft from the text
_MUCH_FASTER = 1.5  # times as fast as any other, to draft: at a recovered token it may be busy with a rejected one

Gathered = tuple[dict[str, MemberStep], list[MemberError]]


class Speculator:
    """Asks members, in the order that costs least.

    Args:
        costs: what is known of drafts, shared with other sessions.

    Attributes:
        alive: the contexts of all members that have not failed, by name, the gate first.
    """

    def __init__(
        self,
        contexts: Sequence[MemberContext],
        rules: AnswerRules,
        when: When = "never",
        costs: DraftCosts | None = None,
    ) -> None:
        self.alive = {context.name: context for context in contexts}
        self._rules, self._when, self._costs = rules, when, costs or DraftCosts()
        self._draft: list[DraftToken] = []
        self._num_left = 0
        self._own = OwnDraft()
        self._proposers: list[Proposer] = []
        if when == "overlapped":
            self._proposers = [self._own, PromptLookup(contexts[0].prompt_tokens)]
            for context in contexts if not rules.settings.is_greedy else ():
                context.reads.new_sample = partial(choice_alone, rules.sampler)
        elif when == "in turn":
            self._proposers = [KnownPlaces(self.alive, rules)]
        ended = SimpleQueue[None]()
        for context in contexts:
            context.reads.ended = ended
        self._idle: Sequence[MemberContext] = ()  # of members that this step has not asked
        self._answered: set[str] = set()  # those done with this step
        self._is_drafting = False  # in turn
        self._step = _Step()

    def begin_step(self, first: Sequence[MemberContext], others: Sequence[MemberContext], num_left: int) -> None:
        """A step begins: `first` are asked, then maybe the `others`.

        Args:
            num_left: steps that may follow and at which, like at this one, the rules choose; 0 = this step's token may
                be forced.
        """
        self._num_left, self._own.context = num_left, None
        self._answered.clear()
        if self._when == "overlapped" and len(self.alive) > 1:
            self._choose_own(first, others)

    def gather(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> Gathered:
        """The steps of these members, by name, and what failed.

        Args:
            idle: of members that are not asked; they read along.

        Raises:
            SessionStopped: soon after the answer is stopped.
        """
        errors = self._draft_in_turn(contexts) if self._when == "in turn" else []
        if errors:
            failed = {error.member for error in errors}
            contexts = [context for context in contexts if context.name not in failed]
        self._idle = idle
        steps, more = self._ask(contexts)
        self._answered.update(steps)
        self._step.is_asked = True
        return steps, errors + more

    def has_drafted(self, token_id: int) -> bool:
        """Whether this is the first draft token."""
        return bool(self._draft) and self._draft[0].token_id == token_id

    @property
    def drafted_by(self) -> tuple[str, ...] | None:
        """Whose the first draft token is; see `StepTrace`."""
        return self._draft[0].drafted_by if self._draft else None

    def feed(self, token_id: int) -> None:
        """A token was decided, and fed to the contexts."""
        if self._when == "in turn":
            self._learn(token_id)
        if self._draft:
            self._draft = self._draft[1:] if self.has_drafted(token_id) else []
        for proposer in self._proposers:
            proposer.note(token_id)

    def prefetch(self, contexts: Iterable[MemberContext]) -> None:
        """Begin the passes that the next step is sure to need, so that members compute while this step is reported. In
        turn, the next step decides what is read.
        """
        if self._when == "overlapped":
            self._draft_overlapped()
        if self._when != "in turn":
            for context in contexts:
                context.prefetch()

    def _proposed(self, draft: list[DraftToken], most: int) -> list[DraftToken]:
        """Of the first proposer that has something. All are asked, so that they learn."""
        return next(filter(None, [proposer.propose(draft, most) for proposer in self._proposers]), [])

    def _ask(self, contexts: Sequence[MemberContext]) -> Gathered:
        """Ask these members. A member that fails with a draft is asked again without it."""
        started = time.monotonic()
        steps, errors = gather(sorted(contexts, key=_pass_s), self._idle, self._meanwhile)
        if self._draft and (again := [error.member for error in errors if error.kind != "timeout"]):
            self._draft = []
            for context in self.alive.values():
                context.drop_draft()
            found, failed = gather([self.alive[name] for name in again])
            errors = [error for error in errors if error.member not in again] + failed
            steps |= found
        self._step.seconds += time.monotonic() - started
        return {context.name: steps[context.name] for context in contexts if context.name in steps}, errors

    # --- overlapped

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

    def _draft_overlapped(self) -> None:
        """Let the pass that is due read a draft, of those who have not drafted it."""
        draft = self._proposed([], min(_MAX_GUESS, self._num_left - 1))
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

    # --- in turn

    def _draft_in_turn(self, contexts: Sequence[MemberContext]) -> list[MemberError]:
        """Let one member draft what the others will read at once, while that pays. Returns what failed."""
        drafting = self._drafting
        self._step.is_drafted |= any(context.is_known for context in contexts)
        self._step.is_typical &= all(context.is_known or context.usage.num_forwards > 0 for context in contexts)
        if not self._is_drafting:
            return []
        if drafting in contexts and not drafting.is_known:
            self._lengthen()  # the bonus token, where the others know the place already
            if errors := self._ask([drafting])[1]:
                return errors
        if all(context.is_known for context in contexts):
            return []
        while self._lengthen() and self._is_worth_reading(drafting):
            drafting.num_wanted = len(self._draft) + 1
            errors = self._ask([drafting])[1]
            drafting.num_wanted = 1
            if errors or not self._draft:
                return errors
        return []

    @property
    def _drafting(self) -> MemberContext:
        is_gated = self._rules.gate.is_asked_alone(list(self.alive))
        return next(iter(self.alive.values())) if is_gated else self._by_pace[0]

    @property
    def _by_pace(self) -> list[MemberContext]:
        """The fastest first; those whose pace is not known last."""
        return sorted(self.alive.values(), key=lambda context: _pass_s(context) or math.inf)

    def _lengthen(self) -> bool:
        """Add to the draft what is proposed; False if nothing was added."""
        union = next(iter(self.alive.values())).member.mapping.union
        draft = self._proposed(self._draft, self._num_left - len(self._draft))
        for token in draft:
            has_room = all(context.has_room_for(token.token_id) for context in self.alive.values())
            if token.token_id == union.end_id or not has_room:
                return False
            self._draft.append(token)
            for context in self.alive.values():
                context.draft.append(token.token_id)
        return bool(draft)

    def _is_worth_reading(self, drafting: MemberContext) -> bool:
        """Whether the drafting member should read the draft's last token now, so that the draft can grow."""
        survival, num_settled = 1.0, 1.0
        for token in self._draft:
            if not token.is_certain:
                survival *= self._costs.acceptance(token.confidence)
                num_settled += survival
        verifying = [context for context in self.alive.values() if not context.is_known]
        now_s, longer_s = (
            max(_pass_s(context, context.num_uncomputed + more) for context in verifying) for more in (0, 1)
        )
        return pays(now_s, longer_s, survival, num_settled, _pass_s(drafting))

    def _learn(self, token_id: int) -> None:
        """From the step that ends with this token."""
        step, self._step = self._step, _Step()
        if self._draft and not self._draft[0].is_certain:
            self._costs.note_draft_token(self._draft[0].confidence, is_accepted=self.has_drafted(token_id))
        if step.is_typical and step.is_asked:  # a replayed step asks nobody
            self._costs.note_step(step.seconds, is_drafting=self._is_drafting or step.is_drafted)
        is_wanted = self._rules.settings.speculation == "on"
        self._is_drafting = self._costs.is_measured and (is_wanted or self._costs.is_worth_drafting())


@dataclass(slots=True)
class _Step:
    """Measurements of the current step."""

    seconds: float = 0.0  # waited for members
    is_asked: bool = False
    is_drafted: bool = False  # an earlier draft saved it a pass, so its time says nothing about plain decoding
    is_typical: bool = True  # no member reads a whole prompt


def _pass_s(context: MemberContext, num_ids: int = 1) -> float:
    """Seconds of the member's pass over so many ids; 0 = not known."""
    return context.member.model.costs.seconds(num_ids)


def _slowest_s(contexts: Iterable[MemberContext], num_ids: int) -> float:
    """Of the slowest member."""
    return max(_pass_s(context, num_ids) for context in contexts)
