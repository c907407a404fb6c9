"""A run as page and server see it: live and stored runs have the same attributes and events."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.models.message import Message
from gac_app.settings import Settings
from gac_app.storage.records import ENSEMBLE as ENSEMBLE
from gac_app.storage.records import AnswerRecord, RunStatus, StoredRun, Swap, Turn, fed_messages, stream_key
from gac_app.storage.text import clean_text
from gac_app.storage.traces import LazySequence, StoredEvents

if TYPE_CHECKING:  # loads torch, which the page need not wait for
    from gac_app.decoding.loop import Branch, DecodingSession

WAITING = "waiting"
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
    outline: Sequence[Event] | None = None  # events without candidates and members, if these are cheaper to read

    @property
    def finished(self) -> FinishedEvent | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, FinishedEvent) else None

    @property
    def steps(self) -> Sequence[StepTrace]:
        """The steps so far. Those of a stored answer are read on access."""
        events = self.events
        return LazySequence(len(events) - (self.finished is not None), lambda position: _step_of(events[position]))

    @property
    def text(self) -> str:
        """The answer so far."""
        if finished := self.finished:
            return finished.text
        return "".join(event.text for event in self.events if isinstance(event, TokenEvent))


@dataclass(slots=True)
class LiveStream(StreamView):
    """One answer in progress."""

    events: list[Event] = field(default_factory=list)


def _step_of(event: Event) -> StepTrace:
    assert isinstance(event, TokenEvent)  # noqa: S101 (only the last event is another kind)
    return event.step


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
    num_deleted_turns: int = 0  # how many of these were deleted
    is_shared: bool = False  # anybody who knows its id may read it
    seeds: dict[str, int] = field(default_factory=dict)  # by stream, if not the settings'
    is_own: bool = True  # the viewer owns it

    def feed(self, system_prompt: str) -> None:
        """Set the messages of every stream, from the prompt and the turns."""
        for key, stream in self.streams.items():
            stream.messages = fed_messages(key, self.prompt, system_prompt, self.turns)

    def as_turn(self) -> Turn:
        """This run as an earlier turn of a later one."""
        return Turn(self.id, self.prompt, {key: clean_text(stream.text) for key, stream in self.streams.items()})

    def shares_read(self) -> dict[str, float]:
        """By name, the share of the prompt that each member has read, 0 to 1; only of members that read now."""
        return {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The possible votes."""
        return (*self.streams, "tie", "all-bad")


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that a new run replaces in its conversation.

    Attributes:
        branch_position: the step of the ensemble's answer at which a branch begins; None = no branch.
        swap: the original token there, and the chosen one.
        branches: by stream, the beginning of its answer.
        kept: by stream, answers that are copied.
        seeds: by stream, if not the settings'.
    """

    parent: RunView
    branch_position: int | None = None
    swap: Swap | None = None
    branches: Mapping[str, Branch] = field(default_factory=dict)
    kept: Mapping[str, LiveStream] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)


class LiveRun(RunView):
    """A run of this process. The owner's key never leaves the service.

    Args:
        keys: the streams' keys, the ensemble's first.
        turns, conversation_id: the conversation that it continues, if it has no `origin`.
    """

    streams: dict[str, LiveStream]

    def __init__(
        self,
        *,
        owner: str,
        prompt: str,
        settings: Settings,
        keys: Sequence[str],
        member_names: tuple[str, ...],
        turns: tuple[Turn, ...] = (),
        conversation_id: str | None = None,
        origin: Origin | None = None,
        repeats_run_id: str | None = None,
    ) -> None:
        kept = origin.kept if origin else {}
        super().__init__(
            id=uuid.uuid4().hex,
            conversation_id=(origin.parent.conversation_id if origin else conversation_id) or uuid.uuid4().hex,
            prompt=prompt,
            settings=settings,
            member_names=member_names,
            status=WAITING,
            streams={key: kept.get(key) or LiveStream(key.removeprefix("member:")) for key in keys},
            turns=origin.parent.turns if origin else turns,
            parent_run_id=origin.parent.id if origin else None,
            branch_position=origin.branch_position if origin else None,
            swap=origin.swap if origin else None,
            seeds=dict(origin.seeds) if origin else {},
            repeats_run_id=repeats_run_id,
        )
        self.owner = owner
        self.context: Context | None = None  # the request's context, if needed; set by the runner
        self.has_consent = False  # the visitor agrees to publishing
        self.client = ""  # from `client_of`; the queue orders by it
        self.came_at = time.monotonic()
        self.on_ended: Callable[[], None] = lambda: None  # set by the runner; called before `over` is set
        self.sessions: list[DecodingSession] = []  # open sessions; set by the runner
        self.branches = dict(origin.branches) if origin else {}
        self.is_stopping = threading.Event()  # sessions opened from now on end at once
        self.over = threading.Event()  # no more events will come
        self._changed = threading.Condition()
        self._num_changes = 0
        self._num_seen = 0
        self.feed(settings.system_prompt)

    def alone_in(self, stream: str) -> str | None:
        """The member that answers alone in a stream; None where the ensemble does."""
        return alone_in(stream)

    def settings_of(self, stream: str) -> Settings:
        """The settings of a stream."""
        return self.settings.model_copy(update={"seed": self.seeds.get(stream, self.settings.seed)})

    def forget_turn(self, run_id: str) -> None:
        """Drop an earlier turn from this run, which must be over."""
        left = tuple(turn for turn in self.turns if turn.run_id != run_id)
        self.num_deleted_turns += len(self.turns) - len(left)
        self.turns = left
        self.feed(self.settings.system_prompt)

    def shares_read(self) -> dict[str, float]:
        """See `RunView`. If several sessions read the same prompt, the furthest counts."""
        shares: dict[str, float] = {}
        for session in tuple(self.sessions):
            for name, share in session.shares_read().items():
                shares[name] = max(share, shares.get(name, 0.0))
        return shares

    def changed(self) -> None:
        """Wake all threads that wait for events."""
        with self._changed:
            self._num_changes += 1
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for new events, at most `timeout_s`. Returns whether the run is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_changes > self._num_seen or self.over.is_set(), timeout_s)
            self._num_seen = self._num_changes
        return self.over.is_set()


def stored_view(run: StoredRun, settings: Settings) -> RunView:
    """The view of a stored run; `settings` are the stored ones."""
    view = RunView(
        id=run.run_id,
        conversation_id=run.conversation_id,
        prompt=run.prompt,
        settings=settings,
        member_names=run.member_names,
        status=run.status,
        streams={answer.stream: _stored_stream(answer) for answer in run.answers},
        is_saved=True,
        outcome=run.outcome,
        parent_run_id=run.parent_run_id,
        branch_position=run.branch_position,
        swap=run.swap,
        repeats_run_id=run.repeats_run_id,
        turns=run.turns,
        num_deleted_turns=run.num_deleted_turns,
        is_shared=run.is_shared,
        seeds=run.seeds,
    )
    view.feed(run.settings.get("system_prompt", ""))
    return view


def _stored_stream(answer: AnswerRecord) -> StreamView:
    finished = FinishedEvent(
        reason=answer.finish_reason,
        text=answer.text,
        num_tokens=answer.num_tokens,
        num_ensembled=answer.num_ensembled,
        ttft_s=answer.ttft_s,
        seconds=answer.seconds,
        members=answer.members,
        detail=answer.detail,
        digest=answer.digest,
        is_reproducible=answer.is_reproducible,
    )
    tokens = answer.events
    outline = tokens.outline if isinstance(tokens, StoredEvents) else tokens
    return StreamView(answer.system, events=_ended(tokens, finished), outline=_ended(outline, finished))


def _ended(tokens: Sequence[TokenEvent], finished: FinishedEvent) -> Sequence[Event]:
    """Events and the finished event, joined without reading them."""
    num_tokens = len(tokens)
    return LazySequence(num_tokens + 1, lambda at: tokens[at] if at < num_tokens else finished)


def is_over(run: RunView) -> bool:
    """Whether no more events will come. The run may not be saved yet."""
    return run.status not in LIVE_STATUSES


def run_status(streams: Sequence[StreamView]) -> RunStatus:
    """A run's status from its answers': it failed if its first answer, the ensemble's, or all answers failed."""
    reasons = [stream.finished.reason if stream.finished else FinishReason.ERROR for stream in streams]
    if FinishReason.ABORT in reasons:
        return RunStatus.ABORTED
    return RunStatus.FAILED if reasons[0] is FinishReason.ERROR else RunStatus.FINISHED
