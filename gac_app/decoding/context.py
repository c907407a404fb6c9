"""One member's context within one session: what it has read, and what it expects next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass

from gac_app.decoding.events import MemberUsage
from gac_app.decoding.expectation import Expectation, ReadExpectation
from gac_app.decoding.member import Member
from gac_app.decoding.reading import Reading
from gac_app.errors import MemberError
from gac_app.models.base import Sequence

_POLL_S = 0.1  # how often a wait looks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The session was stopped while it waited for a member."""


class MemberContext:
    """The sequence that one session keeps in one member. A member that is not asked keeps its ids pending, or reads
    them ahead: a pass that nobody waits for, and that `ask` finds. The sequence stays as it is while one is under way.

    Args:
        member: whose context this is.
        prompt_ids: the prompt in the member's own ids.
        sequence: one that holds `prompt_ids` already, the last of them pending at least; None = a new one.

    Attributes:
        likely: pieces that may come next, as another member sees it; None = not known. Only a context whose member may
            be inside a token asks.
    """

    likely: list[bytes] | None = None

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        self.member = member
        self.num_prompt_ids = len(prompt_ids)
        self._sequence = sequence or member.open(prompt_ids)
        self._fed: list[int] = []  # not in the sequence yet
        self._ahead: Future[Reading] | None = None  # reads what nobody has asked for
        self._num_ahead = 0  # ids that it reads
        self._is_waited_for = False  # with passes that others share
        self._num_forwards = 0
        self._num_tokens_read = 0
        self._seconds = 0.0

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member, so that it cannot be asked."""
        return len(self._sequence.ids) + len(self._fed) > self.member.context_length

    @property
    def written(self) -> bytes:
        """The bytes fed since the prompt."""
        return self.member.mapping.vocabulary.decode(self._sequence.ids[self.num_prompt_ids :] + self._fed)

    @property
    def usage(self) -> MemberUsage:
        return MemberUsage(self._num_forwards, self._num_tokens_read, self._seconds)

    def ask(self) -> Future[Reading] | None:
        """Read whatever is pending; None where nothing needs to be read. What was read ahead comes first."""
        if self._ahead:
            return self._ahead
        self._sequence.extend(self._fed)
        self._fed.clear()
        return self.member.read(self._sequence)

    def expect(self, reading: Reading | None) -> Expectation | None:
        """What follows from the reading that was asked for; None where there is more to ask."""
        if reading is None:
            raise RuntimeError("this context always reads")
        self._count(reading)
        self._ahead = None
        if self._fed:
            return None
        return ReadExpectation(reading)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        """Append a union token; returns the pieces by which the member spells it.

        Args:
            is_open: the tokens of some members go on beyond it; this kind of context lets all end there.
        """
        ids = self.member.mapping.feed(token_id)
        self._fed += ids
        return self._pieces(ids)

    def read_ahead(self) -> Future[Reading] | None:
        """Begin to read what is pending, unless a pass is under way; the last pass begun, if `ask` would find one.

        A pass that failed stays, for `ask` to find.
        """
        if self._ahead:
            if not self._ahead.done() or self._ahead.exception() or not self._fed:
                return self._ahead
            self._count(self._ahead.result())
            self._ahead = None
        self._begin(self.ask())
        return self._ahead

    def sit_out(self) -> None:
        """Nothing is to be read for the next step, as far as is known."""
        if self._is_waited_for:
            self._is_waited_for = False
            self.member.sit_out(self._sequence)

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts."""
        if self._ahead and not self._ahead.cancel():
            if not self._ahead.done():
                self._num_forwards += 1
                self._num_tokens_read += self._num_ahead
            elif not self._ahead.exception():
                self._count(self._ahead.result())
        self._ahead = None
        self.member.free(self._sequence)

    def _begin(self, ahead: Future[Reading] | None) -> None:
        self._ahead = ahead
        self._num_ahead = self._sequence.num_pending if ahead else 0
        if not ahead:
            self.sit_out()

    def _count(self, reading: Reading) -> None:
        self._is_waited_for = True
        self._num_forwards += reading.num_read > 0  # none where another's reading was had
        self._num_tokens_read += reading.num_read
        self._seconds += reading.seconds

    def _pieces(self, ids: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(self.member.mapping.vocabulary.token_bytes[own] or b"" for own in ids)


@dataclass(frozen=True, slots=True)
class _Wait:
    """What ends a wait, and who reads along meanwhile: in passes of their own that nobody waits for."""

    deadline: float
    stopped: threading.Event
    idle: SequenceOf[MemberContext]

    def result(self, future: Future[Reading], name: str) -> Reading:
        while not future.done():
            self._wait(future)
            if future.done():
                break
            if self.stopped.is_set():
                future.cancel()
                raise SessionStopped
            if time.monotonic() > self.deadline:
                future.cancel()
                raise MemberError(name, "timeout", "gave no answer in time for this step")
        return future.result()

    def _wait(self, future: Future[Reading]) -> None:
        """For a moment, or until the future is done; the idle ones go on reading."""
        if self.idle:
            ahead = [under_way for context in self.idle if (under_way := context.read_ahead())]
            wait([future, *(under_way for under_way in ahead if not under_way.done())], _POLL_S, FIRST_COMPLETED)
        else:
            with suppress(TimeoutError):
                future.exception(_POLL_S)


def gather(
    contexts: Iterable[MemberContext],
    timeout_s: float,
    stopped: threading.Event,
    idle: SequenceOf[MemberContext] = (),
    meanwhile: Callable[[Expectation], None] | None = None,
) -> tuple[dict[str, Expectation], list[MemberError]]:
    """Ask all `contexts` at once; what they expect by member name, and what failed.

    Args:
        idle: contexts of members that are not asked, but read along as long as the others are waited for.
        meanwhile: called with what one expects where others are still to be waited for.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    waiting = _Wait(time.monotonic() + timeout_s, stopped, idle)
    for context in idle:
        context.read_ahead()
    expected: dict[str, Expectation] = {}
    errors: list[MemberError] = []
    for context, future in asked:
        try:
            expectation = None
            while expectation is None:
                expectation = context.expect(waiting.result(future, context.name) if future else None)
                future = None if expectation else context.ask()
            expected[context.name] = expectation
            if meanwhile and context is not asked[-1][0]:
                meanwhile(expectation)
        except MemberError as error:
            errors.append(error)
    return expected, errors
