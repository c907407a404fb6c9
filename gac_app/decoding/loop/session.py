"""One prompt's run, from prefill to finish, step by step (paper, section 3): ask, mask, align, combine, choose, feed,
trace.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from gac_app.decoding.alignment import partial_probs, surely_ends
from gac_app.decoding.contexts import MemberContext
from gac_app.decoding.distribution import TokenDistribution
from gac_app.decoding.loop.members import Members
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.loop.threads import on_one_torch_thread
from gac_app.decoding.loop.tracing import StepView, trace_of
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation import Speculator
from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, StepDigest, StepTrace, TokenEvent
from gac_app.errors import ConstraintError, MemberError, RuleError, SessionStopped

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Branch:
    """How an answer begins: steps to replay, then a forced token."""

    steps: tuple[StepTrace, ...] = ()
    token: bytes | None = None


class DecodingSession:
    """Decodes one answer. `events` may be consumed once; `stop` ends it within one step, from any thread.

    Args:
        contexts: of the members taking part, the gate first; the session closes them.
        speculator: asks the members.
        stop_strings: each ends the answer and is never shown.
        is_reproducible: while no member fails, their distributions do not depend on what else runs or ran.
    """

    def __init__(
        self,
        contexts: list[MemberContext],
        rules: AnswerRules,
        speculator: Speculator,
        stop_strings: tuple[str, ...] = (),
        branch: Branch | None = None,
        is_reproducible: bool = False,
    ) -> None:
        self._members = Members(contexts, rules, speculator)
        self._rules, self._settings, self._speculator = rules, rules.settings, speculator
        self._union = contexts[0].member.mapping.union
        self._is_aligned = rules.settings.alignment == "prefix" and len(contexts) > 1
        for context in contexts if self._is_aligned else ():
            context.text.covers.allowed_after = rules.sampler.allowed_U
        self._branch = branch or Branch()
        self._text = TextStream(stop_strings)
        self._started = time.monotonic()
        self._ttft_s = 0.0
        self._digest = StepDigest(rules.settings)
        self._is_reproducible = is_reproducible
        self._num_tokens = 0
        self._num_ensembled = 0
        self._reason: FinishReason | None = None
        self._detail = ""
        self.failure: MemberError | RuleError | ConstraintError | None = None  # why it ended with ERROR

    @property
    def contexts(self) -> dict[str, MemberContext]:
        """By member name, the gate first."""
        return self._members.contexts

    def shares_read(self) -> dict[str, float]:
        """By name, the share of the prompt that each member has read, 0 to 1. Safe to call from any thread."""
        return {name: context.share_read for name, context in self.contexts.items()}

    def stop(self) -> None:
        """End the session with ABORT. The text so far stays."""
        self._rules.stopped.set()

    def events(self) -> Generator[Event, None, None]:
        """Token events, then one finished event. Closing the generator, once begun, frees the sequences."""
        try:
            for step in self._branch.steps:
                if self._reason is None:
                    yield from self._show(self._replay(step))
            while self._reason is None:
                yield from self._show(self._step())
        except SessionStopped:
            self._reason = FinishReason.ABORT
        except (MemberError, RuleError, ConstraintError) as error:
            self._reason, self._detail, self.failure = FinishReason.ERROR, str(error), error
            if isinstance(error, RuleError) and error.place:
                logger.warning("%s (%s)", error, error.place)
        finally:
            self._members.close()
        yield from self._text.release()
        yield self._finished()

    # --- step by step, in place of `events`

    @property
    def text(self) -> str:
        """The text so far, without what may begin a stop string."""
        return self._text.text

    @property
    def is_finished(self) -> bool:
        """Whether the answer has come to its end."""
        return self._reason is not None

    @on_one_torch_thread
    def look(self, num_left: int = 0) -> StepView:
        """The first half of a step: ask the members, and combine what they say. `feed` must follow.

        Args:
            num_left: later steps at which the rules choose.

        Raises:
            SessionStopped, MemberError, RuleError.
        """
        rules = self._rules
        asked, gate = self._members.ask(num_left)
        taking_part = asked if gate.is_open else dict(islice(asked.items(), 1))
        distributions = {name: step.distribution for name, step in taking_part.items()}
        weights = rules.mixture_weights(list(distributions), distributions.__getitem__)
        union = self._union if self._is_aligned and len(distributions) > 1 else None
        mergeable_U = rules.sampler.mergeable_U(len(union)) if union else None
        return StepView(asked, gate, Mixture(distributions, weights, rules.combiner, union, mergeable_U))

    @on_one_torch_thread
    def feed(self, view: StepView, token_id: int | None = None) -> StepTrace:
        """End the step.

        Args:
            token_id: a union id; None = the answer's rules choose.

        Raises:
            MemberError, RuleError, ConstraintError.
        """
        step = self._end_step(*self._choose_and_feed(view, token_id))
        self._show(step)
        return step

    def end(self) -> FinishedEvent:
        """Free the members' sequences, and sum up."""
        self._members.close()
        self._text.release()
        return self._finished()

    # --- one step

    @on_one_torch_thread
    def _step(self) -> StepTrace:
        token = self._branch.token if self._num_tokens == len(self._branch.steps) else None
        num_left = 0 if token is not None else self._settings.max_new_tokens - self._num_tokens - 1
        return self._end_step(*self._look_choose_and_feed(None if token is None else self._id_of(token), num_left))

    def _look_choose_and_feed(self, forced: int | None, num_left: int = 0) -> tuple[StepView, dict[str, Any]]:
        """Both halves of a step, without the members that fail."""
        return self._members.without_failing(lambda: self._choose_and_feed(self.look(num_left), forced))

    def _choose_and_feed(self, view: StepView, forced: int | None) -> tuple[StepView, dict[str, Any]]:
        """The second half. If choosing fails, the step is made again without the member that failed; once the token is
        noted, nothing may fail. Returns what the trace tells of it.
        """
        rules, speculator = self._rules, self._speculator
        token_id = view.mixture.choose(rules.sampler) if forced is None else forced
        is_led = forced is None and next(iter(view.mixture.distributions)) == self._settings.gate
        gates_sampler = rules.sampler.fork() if is_led and not rules.sampler.is_constrained else None
        allowed_U = rules.sampler.allowed_U() if self._is_aligned else None
        # These may ask a server, and fail: before anything is noted, since the step is made again then.
        allowed = {name: step.distribution.masked(allowed_U) for name, step in view.asked.items()}
        if forced is not None:
            view = replace(view, mixture=view.mixture.given(forced))
            view.mixture.estimate.prob_of(forced)
        rules.sampler.note(token_id)
        partial, evidence = self._members.without_failing(lambda: self._meaning_of(token_id, view, allowed))
        is_shared = all(surely_ends(allowed[name], token_id, prob) for name, prob in partial.items())
        rules.weights.learn(evidence, is_shared=is_shared)
        is_drafted, drafted_by = speculator.has_drafted(token_id), speculator.drafted_by
        spellings = self._members.feed(token_id, partial)
        return view, {
            "token_id": token_id,
            "spellings": spellings,
            "dropped": self._members.dropped,
            "evidence": evidence if partial or forced is not None else {},
            "is_partial": bool(partial),
            "is_shared": is_shared,
            "is_drafted": is_drafted,
            "drafted_by": drafted_by,
            "is_forced": forced is not None,
            "gates_sampler": gates_sampler,
        }

    def _end_step(self, view: StepView, fed: dict[str, Any]) -> StepTrace:
        """Count a step, and begin the reads that the next one is sure to need."""
        self._count(fed["token_id"], is_ensembled=view.is_ensembled)
        self._ttft_s = self._ttft_s or time.monotonic() - self._started
        if self._reason is None:
            self._speculator.prefetch(self._members.in_order_asked()[0])
        return trace_of(view, position=self._num_tokens - 1, union=self._union, **fed)

    def _meaning_of(
        self, token_id: int, view: StepView, allowed: dict[str, TokenDistribution]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """The members whose token may go on beyond this one, with their probability of its bytes; and the evidence:
        each member's probability of the token, or of its bytes if its own may go on.

        A single member proves nothing, so it has no evidence, unless its token is partial. Nor has anybody where no
        weight would learn from it.

        Args:
            allowed: the distributions of the members asked, without what the answer's constraints forbid.
        """
        alive, known, partial = self._members.alive, view.mixture.distributions, {}
        if self._is_aligned and token_id != self._union.end_id:
            asked = {name: distribution for name, distribution in allowed.items() if name in alive}
            # A member that decided alone chose one of its own tokens.
            alone = next(iter(known)) if len(known) == 1 else ""
            partial = partial_probs(token_id, asked, self._union, view.mixture.is_conflict(token_id), alone)
        if not partial and (len(known) == 1 or not self._rules.weights.has_memory):
            return partial, {}
        return partial, {n: partial[n] if n in partial else d.prob_of(token_id) for n, d in known.items() if n in alive}

    @on_one_torch_thread
    def _replay(self, step: StepTrace) -> StepTrace:
        """In place of `step` of another answer: feed its token, and bring weights and contexts to where it left them.
        Members are asked only where they may be inside a token of theirs. Its ids stay those of its own union.
        """
        token_id, position = self._id_of(step.token), self._num_tokens
        first, others = self._members.in_order_asked()
        asked = [*first, *(others if step.is_ensembled else ())]
        if others and step.is_ensembled:
            self._members.tell_likely((candidate.token, candidate.prob) for candidate in step.members[0].top)
        if self._is_aligned and (step.is_partial or not all(context.can_skip_forward() for context in asked)):
            spellings = self._look_choose_and_feed(token_id)[1]["spellings"]
        else:
            self._rules.sampler.note(token_id)
            evidence = {member.member: member.prob for member in step.members} | step.evidence
            self._rules.weights.learn(evidence, is_shared=step.is_shared)
            spellings = self._members.feed(token_id, ())
        self._count(token_id, is_ensembled=step.is_ensembled)
        return replace(step, position=position, spellings=spellings, is_forced=True)

    def _show(self, step: StepTrace) -> list[TokenEvent]:
        self._digest.add(step)
        return self._text.show(step)

    def _count(self, token_id: int, *, is_ensembled: bool) -> None:
        """Count a token that was fed, and check whether it ends the answer."""
        self._num_tokens += 1
        self._num_ensembled += is_ensembled and len(self.contexts) > 1
        self._reason, self._detail = self._why_finished(token_id)
        self._text.take(self._union.token(token_id), is_last=self._reason is not None)
        if self._text.is_stopped:
            self._reason, self._detail = FinishReason.STOP, ""

    def _why_finished(self, token_id: int) -> tuple[FinishReason | None, str]:
        if token_id == self._union.end_id:
            return FinishReason.STOP, ""
        if self._num_tokens >= self._settings.max_new_tokens:
            return FinishReason.LENGTH, f"the limit of {self._settings.max_new_tokens} new tokens"
        for name, context in self._members.alive.items():
            if context.is_full:
                length = context.member.model.context_length
                return FinishReason.LENGTH, f"the context of {name} is full ({length:,} tokens)"
        return None, ""

    def _finished(self) -> FinishedEvent:
        return FinishedEvent(
            reason=self._reason or FinishReason.ABORT,
            text=self._text.text,
            num_tokens=self._num_tokens,
            num_ensembled=self._num_ensembled,
            ttft_s=self._ttft_s,
            seconds=time.monotonic() - self._started,
            members={name: context.usage for name, context in self.contexts.items()},
            detail=self._detail,
            is_at_odds=isinstance(self.failure, ConstraintError),
            digest=self._digest.hex,
            is_reproducible=self._is_reproducible and not self._members.dropped,
            num_replayed=min(self._num_tokens, len(self._branch.steps)),
        )

    def _id_of(self, token: bytes) -> int:
        return self._union.ids[token] if token else self._union.end_id
