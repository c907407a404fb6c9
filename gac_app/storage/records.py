"""The values that go into the store and come out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gac_app.decoding.events import FinishedEvent, FinishReason, MemberUsage, TokenEvent


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    ABORTED = "aborted"  # somebody stopped it, or the page closed
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the process died under it; found out at the next start


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run about to start.

    Attributes:
        run_id, conversation_id: made by the caller (uuid4 hex); a conversation begins with its first run.
        visitor_key: the unguessable key that the browser keeps; only its hash is stored.
        parent_run_id, branch_position: the run and the step it branched from, if it did.
        repeats_run_id: the run that it is once more, if it is; that one may be deleted.
    """

    run_id: str
    visitor_key: str
    conversation_id: str
    prompt: str
    settings: dict[str, Any]
    member_names: tuple[str, ...]
    parent_run_id: str | None = None
    branch_position: int | None = None
    repeats_run_id: str | None = None
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """What one member alone, or the ensemble, answered in a run.

    Attributes:
        system: the member's name, or the ensemble's; `is_ensemble` tells them apart.
        messages: what was fed, as {"role", "content"}.
        events: every step; their probabilities and seconds come back with six digits.
        digest, is_reproducible: as of `FinishedEvent`; empty and False where they were not kept yet.
    """

    system: str
    is_ensemble: bool
    messages: Sequence[dict[str, str]]
    text: str
    num_tokens: int
    num_ensembled: int
    ttft_s: float
    seconds: float
    finish_reason: FinishReason
    detail: str = ""
    members: dict[str, MemberUsage] = field(default_factory=dict)
    events: Sequence[TokenEvent] = ()
    digest: str = ""
    is_reproducible: bool = False

    @classmethod
    def of(
        cls,
        finished: FinishedEvent,
        events: Sequence[TokenEvent],
        *,
        system: str,
        is_ensemble: bool,
        messages: Sequence[dict[str, str]],
    ) -> AnswerRecord:
        """The record of a session that yielded `events`, then `finished`."""
        return cls(
            system=system,
            is_ensemble=is_ensemble,
            messages=messages,
            text=finished.text,
            num_tokens=finished.num_tokens,
            num_ensembled=finished.num_ensembled,
            ttft_s=finished.ttft_s,
            seconds=finished.seconds,
            finish_reason=finished.reason,
            detail=finished.detail,
            members=finished.members,
            events=events,
            digest=finished.digest,
            is_reproducible=finished.is_reproducible,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A line of the history. Times are UTC; the counts are the ensemble's, 0 without its answer."""

    run_id: str
    conversation_id: str
    position: int  # in the conversation, from 0
    branch_position: int | None  # the step at which it branched from another run, if it did
    prompt: str
    status: RunStatus
    created_at: datetime
    outcome: str | None
    num_answers: int
    num_tokens: int
    num_ensembled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """Everything known of a run. Answers: the ensemble's first, then the members' in the ensemble's order."""

    run_id: str
    conversation_id: str
    position: int
    parent_run_id: str | None
    branch_position: int | None
    repeats_run_id: str | None
    prompt: str
    settings: dict[str, Any]
    member_names: tuple[str, ...]
    config_hash: str
    versions: dict[str, str]
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None
    outcome: str | None
    answers: tuple[AnswerRecord, ...]
