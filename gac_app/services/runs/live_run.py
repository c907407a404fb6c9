"""A run of this process: its streams grow while it decodes, and threads can wait for its events."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gac_app.decoding.trace import Event
from gac_app.services.runs.views import WAITING, RunView, StreamView, alone_in
from gac_app.settings import Settings
from gac_app.storage import Swap, Turn

if TYPE_CHECKING:  # loads torch, which the page need not wait for
    from gac_app.decoding.loop import Branch, DecodingSession


@dataclass(slots=True)
class LiveStream(StreamView):
    """One answer in progress."""

    events: list[Event] = field(default_factory=list)


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


@dataclass(frozen=True, slots=True)
class Continued:
    """The conversation that a new run continues, and its turns so far."""

    conversation_id: str
    turns: tuple[Turn, ...]


class LiveRun(RunView):
    """A run of this process. The owner's key never leaves the service.

    Args:
        keys: the streams' keys, the ensemble's first.
        after: the run that it replaces, or the conversation that it continues; None = it begins a conversation.
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
        after: Origin | Continued | None = None,
    ) -> None:
        origin = after if isinstance(after, Origin) else None
        before = origin.parent if origin else after if isinstance(after, Continued) else None
        kept = origin.kept if origin else {}
        super().__init__(
            id=uuid.uuid4().hex,
            conversation_id=before.conversation_id if before else uuid.uuid4().hex,
            prompt=prompt,
            settings=settings,
            member_names=member_names,
            status=WAITING,
            streams={key: kept.get(key) or LiveStream(key.removeprefix("member:")) for key in keys},
            turns=before.turns if before else (),
            parent_run_id=origin.parent.id if origin else None,
            branch_position=origin.branch_position if origin else None,
            swap=origin.swap if origin else None,
            seeds=dict(origin.seeds) if origin else {},
        )
        self.owner = owner
        self.context: Context | None = None  # the request's context, if needed; set by the runner
        self.has_consent = False  # the visitor agrees to publishing
        self.client = ""  # from `client_of`; the queue orders by it
        self.is_of_batch = False  # it leaves a place to runs that somebody watches
        self.came_at = time.monotonic()
        self.on_ended: Callable[[], None] = lambda: None  # set by the runner; called before `over` is set
        self.sessions: list[DecodingSession] = []  # open sessions; set by the runner
        self.branches = dict(origin.branches) if origin else {}
        self.is_stopping = threading.Event()  # sessions opened from now on end at once
        self.over = threading.Event()  # no more events will come
        self.settled = threading.Event()  # `is_saved` is known; set by the recorder
        self._changed = threading.Condition()
        self._num_changes = 0
        self._num_seen = 0
        self.feed(settings.system_prompt)

    def alone_in(self, stream: str) -> str | None:
        """The member that answers alone in a stream; None if the ensemble does."""
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
