"""A run as page and server see it: live and stored runs have the same attributes and events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, StepOutline, StepTrace, TokenEvent
from gac_app.errors import RequestError
from gac_app.models.message import Message
from gac_app.settings import Settings
from gac_app.storage import BESIDE as BESIDE
from gac_app.storage import ENSEMBLE as ENSEMBLE
from gac_app.storage import (
    AnswerRecord,
    LazySequence,
    RunStatus,
    StoredRun,
    Swap,
    Turn,
    clean_text,
    fed_messages,
    stream_key,
    without_ends,
)

T = TypeVar("T")

WAITING = "waiting"
# What all runs, new, live and stored, call by the same name.
RUN_FACTS = (
    *("conversation_id", "prompt", "member_names", "parent_run_id"),
    *("branch_position", "swap", "repeats_run_id", "seeds"),
)
_STORED_FACTS = (*RUN_FACTS, "status", "outcome", "turns", "turn_ids", "is_shared", "shares_turns")
LIVE_STATUSES = (WAITING, RunStatus.RUNNING)


def member_stream(name: str) -> str:
    """The key of the stream in which a member answers alone."""
    return stream_key(name, is_ensemble=False)


def alone_in(stream: str) -> str | None:
    """The member that answers alone in a stream; None for the ensemble's."""
    return None if stream == ENSEMBLE else stream.removeprefix("member:")


@dataclass(slots=True)
class StreamView:
    """One answer of a run. `events` only grows: token events, then a finished event."""

    name: str  # the member's name, or "ensemble"
    messages: tuple[Message, ...] = ()  # the context; see `RunView.feed`
    events: Sequence[Event] = field(default_factory=list)
    stored: tuple[FinishedEvent, Sequence[StepOutline]] | None = None  # of a stored answer, whose events are read late

    @property
    def finished(self) -> FinishedEvent | None:
        if self.stored:
            return self.stored[0]
        last = self.events[-1] if self.events else None
        return last if isinstance(last, FinishedEvent) else None

    @property
    def steps(self) -> Sequence[StepTrace]:
        """The steps so far. Those of a stored answer are read on access."""
        return self._each(lambda event: event.step)

    @property
    def outline(self) -> Sequence[StepOutline]:
        """What is drawn of the steps so far. Of a stored answer it is read on access."""
        return self.stored[1] if self.stored else self._each(StepOutline.of)

    def _each(self, of: Callable[[TokenEvent], T]) -> Sequence[T]:
        events = self.events
        num = len(events) - (self.finished is not None)
        return LazySequence(lambda: num, lambda position: of(_token(events[position])))

    @property
    def text(self) -> str:
        """The answer so far."""
        if finished := self.finished:
            return finished.text
        tokens = self.stored[1] if self.stored else self.events
        return "".join(token.text for token in tokens if not isinstance(token, FinishedEvent))


def _token(event: Event) -> TokenEvent:
    assert isinstance(event, TokenEvent)  # noqa: S101 (only the last event is another kind)
    return event


@dataclass(slots=True, kw_only=True, eq=False)
class RunView:
    """One prompt answered by the ensemble and by every member alone."""

    id: str
    conversation_id: str
    prompt: str
    settings: Settings
    member_names: tuple[str, ...]  # all members; those that took part have streams
    status: str  # "waiting" or a RunStatus
    streams: Mapping[str, StreamView]  # the ensemble's first, then one `member_stream(name)` per member
    queue_place: int = 0  # runs before this one; 0 = decoding
    is_saved: bool | None = None  # None = not known yet
    outcome: str | None = None
    parent_run_id: str | None = None
    branch_position: int | None = None
    swap: Swap | None = None  # of a branch: the original token, and the chosen one
    repeats_run_id: str | None = None
    turns: tuple[Turn, ...] = ()  # earlier turns of its conversation
    turn_ids: tuple[str, ...] = ()  # also of those that were deleted
    is_shared: bool = False  # anybody who knows its id may read it
    shares_turns: bool = False  # and then also the turns
    seeds: dict[str, int] = field(default_factory=dict)  # by stream, if not the settings'
    is_own: bool = True  # the viewer owns it

    def feed(self, system_prompt: str) -> None:
        """Set the messages of every stream, from the prompt and the turns."""
        for key, stream in self.streams.items():
            stream.messages = fed_messages(key, self.prompt, system_prompt, self.turns)

    @property
    def num_deleted_turns(self) -> int:
        return len(self.turn_ids) - len(self.turns)

    def as_turn(self) -> Turn:
        """This run as an earlier turn of a later one, without answers that were interrupted."""
        is_whole = self.status != RunStatus.INTERRUPTED
        streams = {key: stream for key, stream in self.streams.items() if is_whole or stream.finished}
        texts = {key: clean_text(stream.text) for key, stream in streams.items()}
        ends = {key: stream.finished.reason for key, stream in streams.items() if stream.finished}
        return Turn(self.id, self.prompt, texts, without_ends(ends))

    def shares_read(self) -> dict[str, float]:
        """By name, the share of the prompt that each member has read, 0 to 1; only of members that read now."""
        return {}

    def steps_of(self, stream: str) -> Sequence[StepTrace]:
        """The steps of a stream; none if there is no such stream."""
        found = self.streams.get(stream)
        return found.steps if found else ()

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The possible votes."""
        return (*self.streams, "tie", "all-bad")


def stored_view(run: StoredRun, settings: Settings) -> RunView:
    """The view of a stored run; `settings` are the stored ones."""
    streams = {answer.stream: _stored_stream(answer) for answer in run.answers}
    # Answers are stored when all have ended.
    if run.status == RunStatus.RUNNING or (run.status == RunStatus.INTERRUPTED and not streams):
        streams = {ENSEMBLE: StreamView(ENSEMBLE)}
    same = {name: getattr(run, name) for name in _STORED_FACTS}
    view = RunView(id=run.run_id, settings=settings, streams=streams, is_saved=True, **same)
    view.feed(run.settings.get("system_prompt", ""))
    return view


def _stored_stream(answer: AnswerRecord) -> StreamView:
    finished, tokens = answer.finished, answer.events
    events: Sequence[Event] = LazySequence(
        lambda: len(tokens) + 1, lambda position: tokens[position] if position < len(tokens) else finished
    )
    return StreamView(answer.system, events=events, stored=(finished, answer.outline))


def is_over(run: RunView) -> bool:
    """Whether no more events will come. The run may not be saved yet."""
    return run.status not in LIVE_STATUSES


def run_status(streams: Sequence[StreamView]) -> RunStatus:
    """A run's status from its answers': it failed if its first answer, the ensemble's, or all answers failed."""
    reasons = [stream.finished.reason if stream.finished else FinishReason.ERROR for stream in streams]
    if FinishReason.ABORT in reasons:
        return RunStatus.ABORTED
    return RunStatus.FAILED if reasons[0] is FinishReason.ERROR else RunStatus.FINISHED


def step_at(steps: Sequence[StepTrace], position: int) -> StepTrace:
    """The step at a position that a browser sent. Raises RequestError."""
    if not steps:
        raise RequestError("position", "this answer has no steps")
    if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position < len(steps):
        raise RequestError("position", f"expected a whole number from 0 to {len(steps) - 1}")
    return steps[position]
