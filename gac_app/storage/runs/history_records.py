"""The values of the history: its lines, and the filter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gac_app.storage.runs.records import RunStatus, Swap


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A line of the history. Times are UTC. Counts are the ensemble's; 0 without its answer.

    If a run cannot be read, its status is DAMAGED and its prompt empty.
    """

    run_id: str
    conversation_id: str
    position: int  # in the conversation, from 0
    branch_position: int | None  # of a branch: the original step
    swap: Swap | None
    prompt: str
    mode: str
    member_names: tuple[str, ...]
    status: RunStatus
    created_at: datetime
    outcome: str | None
    num_answers: int
    num_tokens: int
    num_ensembled: int
    is_shared: bool


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

    def lets(self, run: RunSummary) -> bool:
        """Whether a run's vote, mode and members match."""
        vote = {"": True, "none": run.outcome is None, "voted": run.outcome is not None}
        is_member = not self.member or self.member in run.member_names
        return vote.get(self.outcome, run.outcome == self.outcome) and self.mode in ("", run.mode) and is_member
