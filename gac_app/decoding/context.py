"""One member's context within one session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from gac_app.decoding.events import MemberUsage
from gac_app.decoding.member import Member, Reading
from gac_app.errors import MemberError

_POLL_S = 0.1  # how often a wait looks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The session was stopped while it waited for a member."""


class MemberContext:
    """The sequence that one session keeps in one member. A member that is not asked keeps its ids pending."""

    def __init__(self, member: Member, prompt_ids: list[int]) -> None:
        self.member = member
        self.num_prompt_ids = len(prompt_ids)
        self._sequence = member.open(prompt_ids)
        self._num_forwards = 0
        self._num_tokens_read = 0
        self._seconds = 0.0

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member, so that it cannot be asked."""
        return len(self._sequence.ids) > self.member.context_length

    @property
    def written(self) -> bytes:
        """The bytes fed since the prompt."""
        return self.member.mapping.vocabulary.decode(self._sequence.ids[self.num_prompt_ids :])

    @property
    def usage(self) -> MemberUsage:
        return MemberUsage(self._num_forwards, self._num_tokens_read, self._seconds)

    def ask(self) -> Future[Reading]:
        """The next distribution; whatever is pending is read for it."""
        return self.member.read(self._sequence)

    def count(self, reading: Reading) -> None:
        self._num_forwards += 1
        self._num_tokens_read += reading.num_read
        self._seconds += reading.seconds

    def feed(self, token_id: int) -> tuple[bytes, ...]:
        """Append a union token; returns the pieces by which the member spells it."""
        ids = self.member.mapping.feed(token_id)
        self._sequence.extend(list(ids))
        return tuple(self.member.mapping.vocabulary.token_bytes[own] or b"" for own in ids)

    def close(self) -> None:
        self.member.free(self._sequence)


def gather(
    contexts: Iterable[MemberContext], timeout_s: float, stopped: threading.Event
) -> tuple[dict[str, Reading], list[MemberError]]:
    """Ask all `contexts` at once; the readings by member name, and what failed.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    deadline = time.monotonic() + timeout_s
    readings: dict[str, Reading] = {}
    errors: list[MemberError] = []
    for context, future in asked:
        try:
            readings[context.name] = _result(future, context.name, deadline, stopped)
            context.count(readings[context.name])
        except MemberError as error:
            errors.append(error)
    return readings, errors


def _result(future: Future[Reading], name: str, deadline: float, stopped: threading.Event) -> Reading:
    while True:
        try:
            return future.result(timeout=_POLL_S)
        except FutureTimeoutError:
            if stopped.is_set():
                future.cancel()
                raise SessionStopped from None
            if time.monotonic() > deadline:
                future.cancel()
                raise MemberError(name, "timeout", "gave no answer in time for this step") from None
