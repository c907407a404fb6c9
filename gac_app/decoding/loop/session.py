"""One prompt's run, from prefill to finish: step by step until there is a reason to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from gac_app.decoding.contexts import MemberContext, SessionStopped
from gac_app.decoding.loop.stepper import Stepper, StepView
from gac_app.decoding.loop.text import TextStream
from gac_app.decoding.loop.threads import one_torch_thread
from gac_app.decoding.loop.tracing import Decision, trace_of
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation import Drafter
from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, StepDigest, StepTrace, TokenEvent
from gac_app.errors import ConstraintError, MemberError, RuleError

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
        drafter: asks the members.
        stop_strings: each ends the answer and is never shown.
        is_reproducible: the members' distributions do not depend on what else runs or ran.
    """

    def __init__(
        self,
        contexts: list[MemberContext],
        rules: AnswerRules,
        drafter: Drafter,
        stop_strings: tuple[str, ...] = (),
        branch: Branch | None = None,
        is_reproducible: bool = False,
    ) -> None:
        self._stopped = rules.stopped
        self._stepper = Stepper(contexts, rules, drafter)
        self._union = contexts[0].member.mapping.union
        self._settings = rules.settings
        self._branch = branch or Branch()
        self._text = TextStream(stop_strings)
        self._started = time.monotonic()
        self._ttft_s = 0.0
        self._digest = StepDigest(rules.settings)
        self._is_reproducible = is_reproducible
        self._num_tokens = 0
        self._num_replayed = 0
        self._num_ensembled = 0
        self._reason: FinishReason | None = None
        self._detail = ""
        self.failure: MemberError | RuleError | ConstraintError | None = None  # why it ended with ERROR

    @property
    def contexts(self) -> dict[str, MemberContext]:
        """By member name, the gate first."""
        return self._stepper.contexts

    def shares_read(self) -> dict[str, float]:
        """By name, the share of the prompt that each member has read, 0 to 1. Safe to call from any thread."""
        return {name: context.share_read for name, context in self.contexts.items()}

    def stop(self) -> None:
        """End the session with ABORT. The text so far stays."""
        self._stopped.set()

    def events(self) -> Generator[Event, None, None]:
        """Token events, then one finished event. Closing the generator frees the members' sequences."""
        try:
            self._stepper.prepare()
            for step in self._branch.steps:
                if self._reason is None:
                    yield from self._replay(step)
            while self._reason is None:
                yield from self._step()
        except SessionStopped:
            self._reason = FinishReason.ABORT
        except (MemberError, RuleError, ConstraintError) as error:
            self._reason, self._detail, self.failure = FinishReason.ERROR, str(error), error
            if isinstance(error, RuleError) and error.place:
                logger.warning("%s (%s)", error, error.place)
        finally:
            self._stepper.close()
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

    @one_torch_thread()
    def look(self) -> StepView:
        """What the next step chooses from. `feed` must follow. Raises SessionStopped, MemberError, RuleError."""
        if not self._num_tokens:
            self._stepper.prepare()
        return self._stepper.look()

    @one_torch_thread()
    def feed(self, view: StepView, token_id: int | None = None) -> StepTrace:
        """End the step.

        Args:
            token_id: a union id; None = the answer's rules choose.

        Raises:
            MemberError, RuleError, ConstraintError.
        """
        step = self._end_step(self._stepper.feed(view, token_id))
        self._show(step)
        return step

    def end(self) -> FinishedEvent:
        """Free the members' sequences, and sum up."""
        self._stepper.close()
        self._text.release()
        return self._finished()

    # --- one step

    @one_torch_thread()
    def _step(self) -> list[TokenEvent]:
        """Take a step; returns the events that may be shown."""
        token = self._branch.token if self._num_tokens == len(self._branch.steps) else None
        forced = None if token is None else self._id_of(token)
        decision = self._stepper.step(forced, num_left=self._settings.max_new_tokens - self._num_tokens - 1)
        return self._show(self._end_step(decision))

    def _end_step(self, decision: Decision) -> StepTrace:
        """Count a step, and begin the reads of the next one."""
        self._count(decision.token_id, is_ensembled=decision.is_ensembled)
        self._ttft_s = self._ttft_s or time.monotonic() - self._started
        if self._reason is None:
            self._stepper.prefetch()
        return trace_of(decision, self._union, self._num_tokens - 1)

    @one_torch_thread()
    def _replay(self, step: StepTrace) -> list[TokenEvent]:
        """Feed a token of another answer's step."""
        token_id, position = self._id_of(step.token), self._num_tokens
        spellings = self._stepper.replay(step, token_id)
        self._count(token_id, is_ensembled=step.is_ensembled)
        self._num_replayed += 1
        return self._show(replace(step, position=position, token_id=token_id, spellings=spellings, is_forced=True))

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
        for name, context in self._stepper.alive.items():
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
            is_reproducible=self._is_reproducible,
            num_replayed=self._num_replayed,
        )

    def _id_of(self, token: bytes) -> int:
        return self._union.ids[token] if token else self._union.end_id
