"""A run of this process: its streams grow while it decodes, and threads can wait for its events."""

from __future__ import annotations

import asyncio
import codecs
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from gac_app.decoding.trace import Event, FinishedEvent, TokenEvent
from gac_app.services.members import namespace_of
from gac_app.services.origin import ORIGIN
from gac_app.services.runs.views import WAITING, RunView, StreamView, alone_in
from gac_app.settings import Settings
from gac_app.storage import Swap, Turn

if TYPE_CHECKING:  # they load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.loop import Branch
    from gac_app.decoding.request import Encoded, Request
    from gac_app.models.sequence import Share


class Decodes(Protocol):
    """A decoding session, as a run sees it."""

    def events(self) -> Iterator[Event]: ...

    def stop(self) -> None: ...

    def shares_read(self) -> dict[str, float]: ...


@dataclass(slots=True)
class LiveStream(StreamView):
    """One answer in progress.

    Attributes:
        num_kept: tokens of an earlier answer with which it begins. They are there before a session has replayed them,
            and stay if it is stopped meanwhile.
    """

    events: list[Event] = field(default_factory=list)
    num_kept: int = 0

    @classmethod
    def begun(cls, name: str, branch: Branch | None) -> LiveStream:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        steps = branch.steps if branch else ()
        kept = [TokenEvent(decode(step.token), replace(step, is_forced=True)) for step in steps]
        return cls(name, events=list[Event](kept), num_kept=len(kept))

    def take(self, event: Event) -> None:
        """Append an event, or put it in the place of one that was kept."""
        if isinstance(event, TokenEvent) and event.step.position < self.num_kept:
            self.events[event.step.position] = event
            return
        if isinstance(event, FinishedEvent) and event.num_tokens < self.num_kept:
            # Stopped before all was replayed: nothing was decoded, and the digest is of fewer steps.
            event = replace(event, text=self.text, num_tokens=self.num_kept, num_replayed=self.num_kept)
            event = replace(event, digest="", is_reproducible=False)
        self.events.append(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What a new run answers, and what it comes after.

    Attributes:
        conversation_id, turns, turn_ids: the conversation that it continues, and its turns so far; "" = it begins one.
        parent_run_id: the run that it replaces in its conversation.
        repeats_run_id: the run that it repeats in another conversation.
        streams: it has no others; None = one for each that takes part.
        branch_position: the step of the ensemble's answer at which a branch begins; None = no branch.
        swap: the original token there, and the chosen one.
        branches: by stream, the beginning of its answer.
        kept: by stream, answers that are copied.
        seeds: by stream, if not the settings'.
    """

    prompt: str
    settings: Settings
    conversation_id: str = ""
    turns: tuple[Turn, ...] = ()
    turn_ids: tuple[str, ...] = ()
    parent_run_id: str | None = None
    repeats_run_id: str | None = None
    streams: Collection[str] | None = None
    branch_position: int | None = None
    swap: Swap | None = None
    branches: Mapping[str, Branch] = field(default_factory=dict)
    kept: Mapping[str, LiveStream] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)


_OF_PLAN = ("prompt", "settings", "turns", "turn_ids", "parent_run_id", "branch_position", "swap", "repeats_run_id")


class LiveRun(RunView):
    """A run of this process. The owner's key never leaves the service.

    Args:
        keys: the streams' keys, the ensemble's first.
    """

    streams: dict[str, LiveStream]
    is_blind = False  # nothing may tell who answers, nor how fast its owner's other runs are beside it

    def __init__(self, plan: RunPlan, *, owner: str, keys: Sequence[str], member_names: tuple[str, ...]) -> None:
        super().__init__(
            id=uuid.uuid4().hex,
            conversation_id=plan.conversation_id or uuid.uuid4().hex,
            member_names=member_names,
            status=WAITING,
            streams={
                key: plan.kept.get(key) or LiveStream.begun(key.removeprefix("member:"), plan.branches.get(key))
                for key in keys
            },
            seeds=dict(plan.seeds),
            **{name: getattr(plan, name) for name in _OF_PLAN},
        )
        self.owner = owner
        self.origin = replace(ORIGIN.get(), run_id=self.id)
        self.context: Context | None = None  # the request's context, if needed; set by the runner
        self.client = ""  # from `client_of`; the queue orders by it
        self.is_of_batch = False  # it leaves a place to runs that somebody watches
        self.num_at_once: int | None = None  # of its streams; None = all
        self.came_at = time.monotonic()
        self.on_ended: Callable[[], None] = lambda: None  # set by the runner; called before `over` is set
        self.requests: dict[str, Request] = {}  # by stream, until its session is opened
        self.sessions: list[Decodes] = []  # open ones
        self.branches = plan.branches
        self.num_followers = self.num_departures = 0  # of pages; set by the runner
        self.is_seen = False  # a page has shown it
        self.is_stopping = threading.Event()  # sessions opened from now on end at once
        self.over = threading.Event()  # no more events will come
        self._changed = threading.Condition()
        self._followers: tuple[Callable[[], None], ...] = ()
        self.feed(plan.settings.system_prompt)

    @property
    def share(self) -> Share:
        """In which the members compute it."""
        return self.client, self.owner

    def alone_in(self, stream: str) -> str | None:
        """The member that answers alone in a stream; None if the ensemble does."""
        return alone_in(stream)

    def settings_of(self, stream: str) -> Settings:
        """The settings of a stream."""
        return self.settings.model_copy(update={"seed": self.seeds.get(stream, self.settings.seed)})

    def request_of(self, stream: str, ensemble: Ensemble, known: Encoded) -> Request:
        """What a stream asks. Raises RequestError if it does not fit the members."""
        messages, settings = self.streams[stream].messages, self.settings_of(stream)
        return ensemble.request(messages, settings, alone=self.alone_in(stream), known=known)

    def open(self, stream: str, ensemble: Ensemble) -> Decodes:
        """What gives a stream's events. It may hold sequences of the members until they end."""
        return ensemble.open(
            self.requests.pop(stream),
            self.share,
            branch=self.branches.get(stream),
            namespace=namespace_of(self.owner, self.conversation_id),
        )

    def forget_turn(self, run_id: str) -> None:
        """Drop an earlier turn from this run, which must be over."""
        self.turns = tuple(turn for turn in self.turns if turn.run_id != run_id)
        self.feed(self.settings.system_prompt)

    def hidden_s(self) -> float:
        """Seconds until all is shown of what it has decoded."""
        return 0.0

    def shares_read(self) -> dict[str, float]:
        """See `RunView`. If several sessions read the same prompt, the furthest counts."""
        shares: dict[str, float] = {}
        for session in tuple(self.sessions):
            for name, share in session.shares_read().items():
                shares[name] = max(share, shares.get(name, 0.0))
        return shares

    @property
    def is_over_and_saved(self) -> bool:
        """Whether it is over, and known to be stored or not."""
        return self.over.is_set() and self.is_saved is not None

    def add(self, stream: LiveStream, event: Event) -> None:
        """Append an event to a stream, and tell all that follow the run."""
        stream.take(event)
        self.changed()

    def changed(self) -> None:
        """Tell all that follow or wait: events came, or place, status or `is_saved` changed."""
        with self._changed:
            self._changed.notify_all()
            followers = self._followers
        for tell in followers:
            tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Until the block ends, `tell` is called after each change, in the thread that made it, so it must not wait."""
        with self._changed:
            self._followers += (tell,)
        try:
            yield
        finally:
            with self._changed:
                self._followers = tuple(other for other in self._followers if other is not tell)

    def wait_for(self, is_so: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Wait for the change that makes a condition true, at most `timeout_s`. Returns whether it is true."""
        with self._changed:
            return bool(self._changed.wait_for(is_so, timeout_s))


@asynccontextmanager
async def changes_of(run: LiveRun) -> AsyncIterator[asyncio.Event]:
    """An event that the run's threads set after each change; set at first. Clear it before looking at the run."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    changed.set()

    def tell() -> None:
        if not changed.is_set():  # so that a loop that is busy is called once, not once per token
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(changed.set)

    with run.telling(tell):
        yield changed
