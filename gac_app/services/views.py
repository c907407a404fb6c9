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
    """One answer of a run. `events` only grows: token events, then one finished event."""

    name: str  # the member's, or "ensemble"
    messages: tuple[Message, ...] = ()  # what is fed; see `RunView.feed`
    events: Sequence[Event] = field(default_factory=list)
    outline: Sequence[Event] | None = None  # events without candidates and members, where these are cheaper to get

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
        """The answer, as far as it has come."""
        if finished := self.finished:
            return finished.text
        return "".join(event.text for event in self.events if isinstance(event, TokenEvent))


@dataclass(slots=True)
class LiveStream(StreamView):
    """One answer in progress."""

    events: list[Event] = field(default_factory=list)


def _step_of(event: Event) -> StepTrace:
    assert isinstance(event, TokenEvent)  # noqa: S101 (only the last event is none)
    return event.step


@dataclass(slots=True, kw_only=True, eq=False)
class RunView:
    """One prompt answered by the ensemble and by every member alone."""

    id: str
    conversation_id: str
    prompt: str
    settings: Settings
    member_names: tuple[str, ...]  # all there were; those that took part have streams
    status: str  # "waiting" or a RunStatus
    streams: Mapping[str, StreamView]  # the ensemble's first, then `member_stream(name)` each
    queue_place: int = 0  # runs before this one; 0 = decoding
    is_saved: bool | None = None  # None = not known yet
    outcome: str | None = None
    parent_run_id: str | None = None
    branch_position: int | None = None
    swap: Swap | None = None  # of a branch: the token before, and the one that was picked instead
    repeats_run_id: str | None = None
    turns: tuple[Turn, ...] = ()  # of its conversation, those that it goes on from
    num_deleted_turns: int = 0  # of these, how many were deleted since
    is_shared: bool = False  # anybody who knows its id may read it
    seeds: dict[str, int] = field(default_factory=dict)  # by stream, of those sampled with another than the settings'
    is_own: bool = True  # whoever looks at it owns it

    def feed(self, system_prompt: str) -> None:
        """Set what every stream is fed, from the prompt and the turns."""
        for key, stream in self.streams.items():
            stream.messages = fed_messages(key, self.prompt, system_prompt, self.turns)

    def as_turn(self) -> Turn:
        """This run as a later one goes on from it."""
        return Turn(self.id, self.prompt, {key: clean_text(stream.text) for key, stream in self.streams.items()})

    def shares_read(self) -> dict[str, float]:
        """How much of the prompt each member has read, 0 to 1, by name; of those that read."""
        return {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What may be voted."""
        return (*self.streams, "tie", "all-bad")


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that another is made from, in whose place of the conversation it comes.

    Attributes:
        branch_position: the step at which it leaves the ensemble's answer, if that is what it does.
        swap: the token there before, and the one that was picked instead.
        branches: by stream, what its answer begins with.
        kept: by stream, answers that are taken over.
        seeds: by stream, where they are not the settings'.
    """

    parent: RunView
    branch_position: int | None = None
    swap: Swap | None = None
    branches: Mapping[str, Branch] = field(default_factory=dict)
    kept: Mapping[str, LiveStream] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)


class LiveRun(RunView):
    """A run of this process. Its owner's key never leaves the service.

    Args:
        keys: its streams, the ensemble's first.
        turns, conversation_id: that it goes on from, where it has no `origin`.
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
        self.context: Context | None = None  # of the request that it came with, where that matters; the runner's
        self.has_consent = False  # the visitor agrees that it is handed on
        self.client = ""  # where it came from, as `client_of` tells it; the queue goes by it
        self.came_at = time.monotonic()
        self.on_ended: Callable[[], None] = lambda: None  # the runner's: called before `over` is set
        self.sessions: list[DecodingSession] = []  # that are open; the runner's
        self.branches = dict(origin.branches) if origin else {}
        self.is_stopping = threading.Event()  # sessions that open from now on end at once
        self.over = threading.Event()  # nothing more will come
        self._changed = threading.Condition()
        self._num_changes = 0
        self._num_seen = 0
        self.feed(settings.system_prompt)

    def alone_in(self, stream: str) -> str | None:
        """The member that answers alone in a stream; None where the ensemble does."""
        return alone_in(stream)

    def settings_of(self, stream: str) -> Settings:
        """What a stream decodes with."""
        return self.settings.model_copy(update={"seed": self.seeds.get(stream, self.settings.seed)})

    def forget_turn(self, run_id: str) -> None:
        """Keep nothing of an earlier turn, if this run, which is over, goes on from it."""
        left = tuple(turn for turn in self.turns if turn.run_id != run_id)
        self.num_deleted_turns += len(self.turns) - len(left)
        self.turns = left
        self.feed(self.settings.system_prompt)

    def shares_read(self) -> dict[str, float]:
        """If several sessions read the same prompt, the furthest counts."""
        shares: dict[str, float] = {}
        for session in tuple(self.sessions):
            for name, share in session.shares_read().items():
                shares[name] = max(share, shares.get(name, 0.0))
        return shares

    def changed(self) -> None:
        """Wake all threads that wait for news."""
        with self._changed:
            self._num_changes += 1
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for news since the last call, at most `timeout_s`. Returns whether the run is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_changes > self._num_seen or self.over.is_set(), timeout_s)
            self._num_seen = self._num_changes
        return self.over.is_set()


def stored_view(run: StoredRun, settings: Settings) -> RunView:
    """A stored run; `settings` are its own, read back."""
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
    """Events with their end, none of which is accessed."""
    num_tokens = len(tokens)
    return LazySequence(num_tokens + 1, lambda at: tokens[at] if at < num_tokens else finished)


def is_over(run: RunView) -> bool:
    """Whether no more events will come; it may not be saved yet."""
    return run.status not in LIVE_STATUSES


def run_status(streams: Sequence[StreamView]) -> RunStatus:
    """How a run ended, from how its answers did: it failed where its first, the ensemble's, or all of them did."""
    reasons = [stream.finished.reason if stream.finished else FinishReason.ERROR for stream in streams]
    if FinishReason.ABORT in reasons:
        return RunStatus.ABORTED
    return RunStatus.FAILED if reasons[0] is FinishReason.ERROR else RunStatus.FINISHED
