"""A run as the surfaces see it, live or stored: the same attributes, the same events."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gac_app.config import Settings
from gac_app.decoding.events import Event, FinishedEvent, FinishReason, StepTrace, TokenEvent
from gac_app.models.message import Message
from gac_app.storage.records import AnswerRecord, RunStatus, StoredRun

if TYPE_CHECKING:  # loads torch, which the page need not wait for
    from gac_app.decoding.session import Branch, DecodingSession

ENSEMBLE = "ensemble"
WAITING = "waiting"


def member_stream(name: str) -> str:
    """The key of the stream in which a member answers alone."""
    return f"member:{name}"


def alone_in(stream: str) -> str | None:
    """The member that answers alone in a stream; None for the ensemble's."""
    return None if stream == ENSEMBLE else stream.removeprefix("member:")


@dataclass(slots=True)
class StreamView:
    """One answer of a run. `events` only grows: token events, then one finished event."""

    name: str  # the member's, or "ensemble"
    messages: tuple[Message, ...] = ()
    events: list[Event] = field(default_factory=list)

    @property
    def finished(self) -> FinishedEvent | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, FinishedEvent) else None

    @property
    def steps(self) -> list[StepTrace]:
        return [event.step for event in self.events if isinstance(event, TokenEvent)]

    @property
    def text(self) -> str:
        """The answer, as far as it has come."""
        return "".join(event.text for event in self.events if isinstance(event, TokenEvent))


@dataclass(slots=True, kw_only=True, eq=False)
class RunView:
    """One prompt answered by the ensemble and by every member alone."""

    id: str
    conversation_id: str
    prompt: str
    settings: Settings
    member_names: tuple[str, ...]  # all there were; those that took part have streams
    status: str  # "waiting" or a RunStatus
    streams: dict[str, StreamView]  # the ensemble's first, then `member_stream(name)` each
    queue_place: int = 0  # runs before this one; 0 = decoding
    is_saved: bool | None = None  # None = not known yet
    outcome: str | None = None
    parent_run_id: str | None = None
    branch_position: int | None = None
    repeats_run_id: str | None = None

    def shares_read(self) -> dict[str, float]:
        """How much of the prompt each member has read, 0 to 1, by name; of those that read."""
        return {}

    @property
    def outcomes(self) -> tuple[str, ...]:
        """What may be voted."""
        return (*self.streams, "tie", "all-bad")


class LiveRun(RunView):
    """A run of this process. Its owner's key never leaves the service."""

    def __init__(
        self,
        *,
        owner: str,
        prompt: str,
        settings: Settings,
        messages: dict[str, tuple[Message, ...]],
        member_names: tuple[str, ...],
        conversation_id: str | None = None,
        parent_run_id: str | None = None,
        branch: Branch | None = None,
        repeats_run_id: str | None = None,
    ) -> None:
        super().__init__(
            id=uuid.uuid4().hex,
            conversation_id=conversation_id or uuid.uuid4().hex,
            prompt=prompt,
            settings=settings,
            member_names=member_names,
            status=WAITING,
            streams={key: StreamView(key.removeprefix("member:"), fed) for key, fed in messages.items()},
            parent_run_id=parent_run_id,
            branch_position=len(branch.steps) if branch else None,
            repeats_run_id=repeats_run_id,
        )
        self.owner = owner
        self.came_at = time.monotonic()
        self.branch = branch
        self.sessions: list[DecodingSession] = []  # that are open; the runner's
        self.is_stopping = threading.Event()  # sessions that open from now on end at once
        self.over = threading.Event()  # nothing more will come
        self._changed = threading.Condition()
        self._num_changes = 0
        self._num_seen = 0

    def shares_read(self) -> dict[str, float]:
        """Of sessions that read the same, the one that is ahead counts."""
        shares: dict[str, float] = {}
        for session in tuple(self.sessions):
            for name, share in session.shares_read().items():
                shares[name] = max(share, shares.get(name, 0.0))
        return shares

    def changed(self) -> None:
        """Wake whoever waits for news."""
        with self._changed:
            self._num_changes += 1
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait until something new came since the last call, at most `timeout_s`; whether the run is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._num_changes > self._num_seen or self.over.is_set(), timeout_s)
            self._num_seen = self._num_changes
        return self.over.is_set()


def stored_view(run: StoredRun, settings: Settings) -> RunView:
    """A stored run; `settings` are its own, read back."""
    keys = {a.system if a.is_ensemble else member_stream(a.system): a for a in run.answers}
    return RunView(
        id=run.run_id,
        conversation_id=run.conversation_id,
        prompt=run.prompt,
        settings=settings,
        member_names=run.member_names,
        status=run.status,
        streams={key: _stored_stream(answer) for key, answer in keys.items()},
        is_saved=True,
        outcome=run.outcome,
        parent_run_id=run.parent_run_id,
        branch_position=run.branch_position,
        repeats_run_id=run.repeats_run_id,
    )


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
    messages = tuple(Message(m["role"], m["content"]) for m in answer.messages)  # type: ignore[arg-type]
    return StreamView(answer.system, messages, [*answer.events, finished])


def run_status(streams: Sequence[StreamView]) -> RunStatus:
    """How a run ended, from how its answers did: it failed where its first, the ensemble's, or all of them did."""
    reasons = [stream.finished.reason if stream.finished else FinishReason.ERROR for stream in streams]
    if FinishReason.ABORT in reasons:
        return RunStatus.ABORTED
    return RunStatus.FAILED if reasons[0] is FinishReason.ERROR else RunStatus.FINISHED
