"""The sessions of open pages: owners, listeners, and limits per visitor and client.

Gradio's script draws a random hash for each loaded page: the session. Its first user owns it and nobody else may use
it, so knowing a hash does not help.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Caller, Quota, make_room

MAX_SESSIONS = 2000
SESSIONS_PER_VISITOR = 16
STREAMS_PER_SESSION = 6
KEPT_S = 300.0  # a session without a stream is kept so long, for a page that reconnects


@dataclass(slots=True, eq=False)
class Session:
    """One open page.

    Attributes:
        num_streams: open streams of any kind.
        num_listeners: event streams among them.
        used_at, listened_at: times of the last use and the last listener; monotonic.
        ended_at: when Gradio last ended its event stream, all events being over; monotonic.
        heard: set while there is a listener; for events that wait for the first one.
    """

    hash: str
    caller: Caller
    used_at: float
    listened_at: float
    num_streams: int = 0
    num_listeners: int = 0
    ended_at: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Let waiting events begin, or end where nobody listens to them."""
        self.heard.set()
        if not self.num_listeners:
            self.heard.clear()


class Sessions:
    """All sessions, within limits.

    Args:
        per_client: most sessions per address.
        forget: called with each dropped hash.
    """

    def __init__(
        self, per_client: int, forget: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._quota = Quota(SESSIONS_PER_VISITOR, per_client, MAX_SESSIONS)
        self._forget, self._clock = forget, clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        return list(self._sessions.values())

    def find(self, session_hash: str, caller: Caller) -> Session | None:
        """The caller's session, or None. Raises RefusedError (403) if it belongs to another caller."""
        session = self._sessions.get(session_hash)
        if session is None:
            return None
        if session.caller.holder != caller.holder:
            raise RefusedError(403, "This session belongs to another browser; reload the page.")
        session.used_at = self._clock()
        if not session.caller.visitor:  # a stream began it, without a visitor's key
            session.caller = caller
        return session

    def enter(self, session_hash: str, caller: Caller) -> Session:
        """The caller's session, created if needed. Raises RefusedError: 403 if it is another caller's, 429 if there are
        too many.
        """
        session = self.find(session_hash, caller)
        if session is None:
            held = [(one, one.caller) for one in sorted(self.all(), key=lambda one: one.used_at)]
            full = RefusedError(429, "Too many pages are open; close some of them.", retry_s=30)
            for idle in make_room(held, caller, self._quota, lambda one: not one.num_streams, (full, full)):
                self.drop(idle)
            now = self._clock()
            session = self._sessions[session_hash] = Session(session_hash, caller, now, now)
        return session

    def open_stream(self, session: Session, *, listens: bool) -> None:
        """Count a new stream. Raises RefusedError (429) if the session has too many."""
        if session.num_streams >= STREAMS_PER_SESSION:
            raise RefusedError(429, "Too many streams are open.", retry_s=5)
        session.num_streams += 1
        session.num_listeners += listens
        if listens:
            session.wake()

    def close_stream(self, session: Session, *, listens: bool) -> None:
        session.num_streams -= 1
        session.num_listeners -= listens
        session.used_at = self._clock()
        if listens:
            session.listened_at = session.used_at
            session.wake()

    def abandoned_s(self, session: Session, since: float) -> float:
        """Seconds since the last listener, counted from `since` at the earliest."""
        return 0.0 if session.num_listeners else self._clock() - max(since, session.listened_at)

    def had_listener(self, session: Session, since: float) -> bool:
        """Whether there was a listener since then."""
        return session.num_listeners > 0 or session.listened_at > since

    def drop_idle(self) -> None:
        """Drop sessions without a stream that were not used for `KEPT_S`."""
        oldest = self._clock() - KEPT_S
        for session in self.all():
            if not session.num_streams and session.used_at < oldest:
                self.drop(session)

    def drop(self, session: Session) -> None:
        if self._sessions.pop(session.hash, None) is not None:
            self._forget(session.hash)
