"""One prompt's run, from prefill to finish (paper, section 3): ask, combine, choose, feed, repeat.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

import torch

from gac_app.config import Settings
from gac_app.decoding.combine import combine, normalised
from gac_app.decoding.context import MemberContext, SessionStopped, gather
from gac_app.decoding.events import (
    Candidate,
    Event,
    FinishedEvent,
    FinishReason,
    MemberTrace,
    StepTrace,
    TokenEvent,
)
from gac_app.decoding.gate import Gate, GateDecision
from gac_app.decoding.member import TOP_K, Reading
from gac_app.decoding.sampling import Sampler
from gac_app.decoding.text import TextStream
from gac_app.errors import MemberError
from gac_app.vocab.union import UnionVocabulary


@dataclass(frozen=True, slots=True)
class Branch:
    """What an answer begins with instead of being decoded: steps to replay, then a token to take."""

    steps: tuple[StepTrace, ...] = ()
    token: bytes | None = None


@dataclass(slots=True)
class _Clock:
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def ttft_s(self) -> float:
        return self.first_token - self.started if self.first_token is not None else 0.0

    def note_token(self) -> None:
        if self.first_token is None:
            self.first_token = time.monotonic()


class DecodingSession:
    """Decodes one answer. `events` may be consumed once; `stop` ends it within one step, from any thread.

    Args:
        contexts: of the members taking part, the gate first; the session closes them.
        weights: by member name; normalised at each step over those taking part.
        stop_strings: end the answer and are never shown.
    """

    def __init__(
        self,
        contexts: list[MemberContext],
        union: UnionVocabulary,
        gate: Gate,
        weights: Mapping[str, float],
        settings: Settings,
        stop_strings: tuple[str, ...] = (),
        branch: Branch | None = None,
    ) -> None:
        self.contexts = {context.name: context for context in contexts}
        self._alive = [context.name for context in contexts]
        self._dropped: tuple[str, ...] = ()
        self._union = union
        self._gate = gate
        self._weights = weights
        self._settings = settings
        self._branch = branch or Branch()
        self._sampler = Sampler(settings)
        self._text = TextStream(stop_strings)
        self._stopped = threading.Event()
        self._clock = _Clock()
        self._num_tokens = 0
        self._num_ensembled = 0
        self._reason: FinishReason | None = None
        self._detail = ""

    def stop(self) -> None:
        """End the session with ABORT; what was written stays."""
        self._stopped.set()

    def events(self) -> Generator[Event, None, None]:
        """Token events, then one finished event. Closing the generator frees the members' sequences."""
        try:
            for step in self._branch.steps:
                yield from self._take(replace(step, is_forced=True), self._id_of(step.token))
            while self._reason is None:
                step = self._decide()
                yield from self._take(step, step.token_id)
        except SessionStopped:
            self._reason = FinishReason.ABORT
        except MemberError as error:
            self._reason, self._detail = FinishReason.ERROR, str(error)
        finally:
            for context in self.contexts.values():
                context.close()
        yield from self._text.release()
        yield self._finished()

    # --- one step

    def _decide(self) -> StepTrace:
        """Ask the members, combine what they say, and choose."""
        if self._stopped.is_set():
            raise SessionStopped
        readings, decision = self._ask()
        weights = normalised(self._weights, list(readings))
        rows = {name: reading.probs_NU[-1] for name, reading in readings.items()}
        probs_U = combine(list(rows.values()), list(weights.values()))
        is_forced = self._branch.token is not None and self._num_tokens == len(self._branch.steps)
        token_id = self._id_of(self._branch.token or b"") if is_forced else self._sampler.choose(probs_U)
        members = tuple(
            self._member_trace(name, weights[name], rows[name], reading, token_id) for name, reading in readings.items()
        )
        return StepTrace(
            position=self._num_tokens,
            token_id=token_id,
            token=self._union.token(token_id),
            prob=float(probs_U[token_id]),
            top=members[0].top if len(members) == 1 else self._candidates(*probs_U.topk(min(TOP_K, len(probs_U)))),
            gate_confidence=decision.confidence,
            is_ensembled=len(members) > 1,
            winner=max(members, key=lambda member: member.weight * member.prob).member,
            members=members,
            dropped=self._dropped,
            is_forced=is_forced,
        )

    def _ask(self) -> tuple[dict[str, Reading], GateDecision]:
        """The readings of the members taking part in this step, and why it is these."""
        readings: dict[str, Reading] = {}
        while True:
            first = self._gate.asked_first(self._alive)
            readings |= self._collect([name for name in first if name not in readings])
            if first[0] not in readings:
                continue  # the gate was lost: the next member is the gate now
            decision = self._gate.decide(readings[first[0]].confidence)
            if decision.is_open:
                readings |= self._collect([name for name in self._alive if name not in readings])
            return readings, decision

    def _collect(self, names: list[str]) -> dict[str, Reading]:
        """Readings of the members named; those that fail are dropped if the settings say so, else the session ends."""
        contexts = [self.contexts[name] for name in names]
        readings, errors = gather(contexts, self._settings.step_timeout_s, self._stopped)
        for error in errors:
            self._alive.remove(error.member)
            self._dropped += (error.member,)
            if self._settings.on_member_failure == "stop" or not self._alive:
                raise error
        return readings

    def _take(self, step: StepTrace, token_id: int) -> list[TokenEvent]:
        """Feed a decided token to every member; returns the events that may be shown."""
        fed = {name: self.contexts[name].feed(token_id) for name in self._alive}
        spellings = {name: pieces for name, pieces in fed.items() if len(pieces) > 1}
        step = replace(step, position=self._num_tokens, token_id=token_id, spellings=spellings)
        if step.is_forced:
            self._sampler.note(token_id)
        self._clock.note_token()
        self._num_tokens += 1
        self._num_ensembled += step.is_ensembled and len(self.contexts) > 1
        self._reason, self._detail = self._why_finished(token_id)
        events = self._text.push(step, is_last=self._reason is not None)
        if self._text.is_stopped:
            self._reason, self._detail = FinishReason.STOP, ""
        return events

    def _why_finished(self, token_id: int) -> tuple[FinishReason | None, str]:
        if token_id == self._union.end_id:
            return FinishReason.STOP, ""
        if self._num_tokens >= self._settings.max_new_tokens:
            return FinishReason.LENGTH, f"the limit of {self._settings.max_new_tokens} new tokens"
        for name in self._alive:
            if self.contexts[name].is_full:
                length = self.contexts[name].member.context_length
                return FinishReason.LENGTH, f"the context of {name} is full ({length:,} tokens)"
        return None, ""

    def _finished(self) -> FinishedEvent:
        return FinishedEvent(
            reason=self._reason or FinishReason.ABORT,
            text=self._text.text,
            num_tokens=self._num_tokens,
            num_ensembled=self._num_ensembled,
            ttft_s=self._clock.ttft_s,
            seconds=self._clock.seconds,
            members={name: context.usage for name, context in self.contexts.items()},
            detail=self._detail,
        )

    # --- traces

    def _member_trace(
        self, name: str, weight: float, probs_U: torch.Tensor, reading: Reading, token_id: int
    ) -> MemberTrace:
        prob = probs_U[token_id]
        return MemberTrace(
            member=name,
            weight=weight,
            prob=float(prob),
            rank=int((probs_U > prob).sum()) + 1,
            top=self._candidates(reading.top_probs_NK[-1], reading.top_ids_NK[-1]),
            num_read=reading.num_read,
            seconds=reading.seconds,
        )

    def _candidates(self, probs_K: torch.Tensor, ids_K: torch.Tensor) -> tuple[Candidate, ...]:
        pairs = zip(ids_K.tolist(), probs_K.tolist(), strict=True)
        return tuple(Candidate(token_id, self._union.token(token_id), prob) for token_id, prob in pairs)

    def _id_of(self, token: bytes) -> int:
        return self._union.ids[token] if token else self._union.end_id
