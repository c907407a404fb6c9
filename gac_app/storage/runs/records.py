"""The values that the store takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gac_app.decoding.trace import FinishedEvent, FinishReason, StepOutline, TokenEvent
from gac_app.models.message import Message


class RunStatus(StrEnum):
    """A run's status."""

    RUNNING = "running"
    FINISHED = "finished"
    ABORTED = "aborted"  # it was stopped, or its page was closed
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the process died
    DAMAGED = "damaged"  # its row cannot be read; never stored


ENSEMBLE = "ensemble"  # its stream's key
BESIDE = "beside"  # the key of the ensemble's stream of the run that this one replaces, with other settings

Swap = tuple[bytes, bytes]  # of a branch: the original token, and the chosen one


def stream_key(system: str, is_ensemble: bool) -> str:
    """The key of a system's stream."""
    return system if is_ensemble else f"member:{system}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a new run and a stored one tell.

    Attributes:
        run_id, conversation_id: made by the caller (uuid4 hex); a conversation begins with its first run.
        parent_run_id, branch_position: of a branch: the original run and step.
        swap: of a branch: the original token there, and the chosen one.
        repeats_run_id: the run that it repeats, if any; it may be deleted.
        seeds: by stream, if not the settings' seed.
    """

    run_id: str
    conversation_id: str
    prompt: str
    settings: dict[str, Any]
    member_names: tuple[str, ...]
    parent_run_id: str | None = None
    branch_position: int | None = None
    swap: Swap | None = None
    repeats_run_id: str | None = None
    seeds: dict[str, int] = field(default_factory=dict)
    config_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun(RunRecord):
    """A new run.

    Attributes:
        visitor_key: the unguessable key that the browser keeps; only its hash is stored.
        turn_ids: the earlier runs that it continues, in order.
    """

    visitor_key: str
    turn_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRecord:
    """The answer of one member alone, or of the ensemble, in a run.

    Attributes:
        system: the member's name, or the ensemble's; `is_ensemble` tells them apart.
        events: every step. Probabilities and seconds are stored with six digits.
        outline: what is drawn of each step; empty in a record to be stored.
    """

    system: str
    is_ensemble: bool
    finished: FinishedEvent
    events: Sequence[TokenEvent]
    outline: Sequence[StepOutline] = field(default=(), compare=False)

    @property
    def stream(self) -> str:
        """The key of its stream in the run."""
        return stream_key(self.system, self.is_ensemble)


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier run of a conversation, in the context of later ones.

    Attributes:
        answers: text by stream.
        cut: by stream, why an answer ended that did not end by itself.
    """

    run_id: str
    prompt: str
    answers: dict[str, str]
    cut: dict[str, FinishReason] = field(default_factory=dict)


def fed_messages(stream: str, prompt: str, system_prompt: str, turns: Sequence[Turn]) -> tuple[Message, ...]:
    """The messages of one stream of a run. A stream continues its own earlier answers, or the ensemble's for turns
    without its answer. An interrupted turn has no answer.
    """
    messages = [Message("system", system_prompt)] if system_prompt else []
    for turn in turns:
        answer = turn.answers.get(stream, turn.answers.get(ENSEMBLE))
        if answer is not None:
            messages += [Message("user", turn.prompt), Message("assistant", answer)]
    return (*messages, Message("user", prompt))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun(RunRecord):
    """What a stored run and its line in the history tell. Times are UTC."""

    position: int  # in the conversation, from 0
    status: RunStatus
    created_at: datetime
    outcome: str | None
    is_shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun(KnownRun):
    """A stored run.

    Attributes:
        turns: the turns that it continues, without deleted ones.
        shares_turns: who may read it without owning it may read these too.
        turn_ids: the ids of all these, also of deleted ones.
        answers: the ensemble's first, then the members' in the ensemble's order.
    """

    turns: tuple[Turn, ...]
    turn_ids: tuple[str, ...]
    shares_turns: bool
    finished_at: datetime | None
    answers: tuple[AnswerRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(KnownRun):
    """A line of the history. Counts and the excerpt, its beginning, are the ensemble's answer's; 0 and "" without one.
    It lacks versions and seeds.

    If a run cannot be read, its status is DAMAGED and its prompt empty.
    """

    num_answers: int
    num_tokens: int
    num_ensembled: int
    excerpt: str = ""

    @property
    def mode(self) -> str:
        return str(self.settings.get("mode", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """A conversation in the history: its runs that match the filter, in order, and its total number of runs."""

    conversation_id: str
    name: str  # may be empty
    is_starred: bool
    runs: tuple[RunSummary, ...]
    num_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """A filter and order for the history. Empty fields match everything.

    Attributes:
        search: text in prompts, answers or names; literal, case-insensitive.
        outcome: of a vote; "voted" = any vote, "none" = no vote.
        since, before: start of the run.
        sort: "newest", "oldest", "longest" (in tokens of the ensemble) or "most-ensembled" (in share of these).
    """

    search: str = ""
    outcome: str = ""
    mode: str = ""
    member: str = ""
    since: datetime | None = None
    before: datetime | None = None
    is_starred: bool = False
    sort: str = "newest"

    @property
    def looks_inside(self) -> bool:
        """Whether it asks for what is encrypted."""
        return bool(self.search or self.outcome or self.mode or self.member)

    def matches(self, run: RunSummary) -> bool:
        """Whether a run's vote, mode and members match."""
        vote = {"": True, "none": run.outcome is None, "voted": run.outcome is not None}
        is_member = not self.member or self.member in run.member_names
        return vote.get(self.outcome, run.outcome == self.outcome) and self.mode in ("", run.mode) and is_member
