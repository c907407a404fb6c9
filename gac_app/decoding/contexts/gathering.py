"""Waiting for the members that a step asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution import MemberStep, ReadResult
from gac_app.errors import MemberError

POLL_S = 0.1  # seconds between checks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (not an error: it was asked for)
    """The session was stopped while it waited for a member."""


class _Wait:
    """Waits for the members of a step.

    Args:
        timeout_s: for which a member may read nothing while it is waited for.
    """

    def __init__(self, timeout_s: float, stopped: threading.Event, asked: Sequence[MemberContext]) -> None:
        self._timeout_s, self._stopped, self._asked = timeout_s, stopped, asked
        self._progress = dict.fromkeys(asked, -1)
        self._seen_at = dict.fromkeys(asked, 0.0)  # when it last was another one
        self._note_progress()

    def until_done(self, future: Future[ReadResult], context: MemberContext) -> None:
        while not future.done():
            with suppress(TimeoutError):
                future.exception(POLL_S)
                break
            if self._stopped.is_set():
                future.cancel()
                raise SessionStopped
            self._note_progress()
            if time.monotonic() - self._seen_at[context] > self._timeout_s:
                future.cancel()
                raise MemberError(context.name, "timeout", context.member.why_late)

    def _note_progress(self) -> None:
        """Of all members, since each may read a long prompt between others' steps."""
        for context in self._asked:
            if (progress := context.progress) != self._progress[context]:
                self._progress[context], self._seen_at[context] = progress, time.monotonic()


def gather(
    contexts: Iterable[MemberContext],
    timeout_s: float,
    stopped: threading.Event,
    idle: Sequence[MemberContext],
    meanwhile: Callable[[Iterable[str]], None],
) -> tuple[dict[str, MemberStep], list[MemberError]]:
    """Ask all `contexts` at once. Returns their steps by member name, and the errors.

    Args:
        idle: contexts of members that are not asked; they read along.
        meanwhile: called with the names of the members that have answered while others are still waited for.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    waiting = _Wait(timeout_s, stopped, [context for context, _ in asked])
    for context in idle:
        context.read_along()
    steps: dict[str, MemberStep] = {}
    errors: dict[str, MemberError] = {}
    by_time = sorted(asked, key=lambda pair: pair[0].usage.seconds)  # the slowest last
    for index, (context, future) in enumerate(by_time):
        try:
            member_step = None
            while member_step is None:
                if future:
                    waiting.until_done(future, context)
                member_step = context.take()
                future = None if member_step else context.ask()
            steps[context.name] = member_step
            if index < len(by_time) - 1:
                meanwhile(steps)
        except MemberError as error:
            errors[context.name] = MemberError(context.name, error.kind, error.message)  # a view fails as itself
    names = [context.name for context, _ in asked]
    return {name: steps[name] for name in names if name in steps}, [errors[n] for n in names if n in errors]
