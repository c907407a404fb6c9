"""One member's context within one session: what it has read, and what it expects next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass

from gac_app.decoding.distribution.expectation import Expectation, ReadExpectation
from gac_app.decoding.distribution.reading import Ahead, Foreseen, Reading
from gac_app.decoding.member import Member
from gac_app.decoding.trace.events import MemberUsage
from gac_app.errors import MemberError
from gac_app.models.base import Sequence

_POLL_S = 0.1  # how often a wait looks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The session was stopped while it waited for a member."""


class MemberContext:
    """The sequence that one session keeps in one member. A member that is not asked keeps its ids pending, or reads
    them ahead: a pass that nobody waits for, and that `ask` finds. The sequence stays as it is while one is under way.

    A member that knows what will be taken reads it without being asked (`foresee`). Where something else is fed, that
    pass is waited for as any other is, then forgotten.

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
        self._num_held = len(self._sequence.ids)  # of these; the member may have put others behind them
        self._fed: list[int] = []  # not in the sequence yet
        self._ahead: Future[Reading] | None = None  # reads what nobody has asked for
        self._num_ahead = 0  # ids that it reads
        self._foreseen = Foreseen()  # of the pass asked for last
        self._begun: Ahead | None = None  # what the member reads of itself, nothing of which was fed
        self._is_in_vain = False  # something else was fed
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
        return self._num_held + len(self._fed) > self.member.context_length

    @property
    def written(self) -> bytes:
        """The bytes fed since the prompt."""
        ids = self._sequence.ids[self.num_prompt_ids : self._num_held] + self._fed
        return self.member.mapping.vocabulary.decode(ids)

    @property
    def share_read(self) -> float:
        """Of the prompt, 0 to 1; may be asked from any thread."""
        return min(1.0, self._sequence.num_computed / max(1, self.num_prompt_ids))

    @property
    def usage(self) -> MemberUsage:
        return MemberUsage(self._num_forwards, self._num_tokens_read, self._seconds)

    def ask(self) -> Future[Reading] | None:
        """Read whatever is pending; None where nothing needs to be read. What was read ahead comes first."""
        if self._ahead:
            return self._ahead
        self._sequence.extend(self._fed)
        self._fed.clear()
        self._num_held = len(self._sequence.ids)
        return self._read()

    def foresee(self, token_id: int) -> None:
        """Behind the pass under way this token will be taken, if it is the member's own favourite as well."""
        if self._num_held + len(self._fed) + len(self.member.mapping.feed(token_id)) <= self.member.context_length:
            self._foreseen.token_id = token_id

    def expect(self, reading: Reading | None) -> Expectation | None:
        """What follows from the reading that was asked for; None where there is more to ask."""
        if reading is None:
            raise RuntimeError("this context always reads")
        self._count(reading)
        self._ahead = None
        self._note_begun(reading)
        if self._fed:
            self._abandon_begun()
            return None
        return ReadExpectation(reading)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        """Append a union token; returns the pieces by which the member spells it.

        Args:
            is_open: the tokens of some members go on beyond it; this kind of context lets all end there.
        """
        ids = self.member.mapping.feed(token_id)
        if self._begun and self._begun.ids == ids and not self._is_in_vain:
            self._go_on(self._begun)
        else:
            self._fed += ids
            self._abandon_begun()
        return self._pieces(ids)

    def read_ahead(self) -> Future[Reading] | None:
        """Begin to read what is pending, unless a pass is under way; the last pass begun, if `ask` would find one.

        A pass that failed stays, for `ask` to find.
        """
        if self._ahead:
            if not self._ahead.done() or self._ahead.exception() or not self._fed:
                return self._ahead
            self.expect(self._ahead.result())
        self._begin(self.ask())
        return self._ahead

    def read_along(self) -> Future[Reading] | None:
        """As `read_ahead`, of a member that is not asked, and maybe on from there."""
        return self.read_ahead()

    def skip_step(self) -> None:
        """Nothing is to be read for the next step, as far as is known."""
        if self._is_waited_for:
            self._is_waited_for = False
            self.member.skip_step(self._sequence)

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts."""
        self._foreseen.token_id, self._foreseen.is_favourite = None, False
        self._abandon_begun()
        while self._ahead and not self._ahead.cancel():
            if not self._ahead.done():
                self._num_forwards += 1
                self._num_tokens_read += self._num_ahead
                break
            if self._ahead.exception():
                break
            reading = self._ahead.result()
            self._count(reading)
            self._ahead = reading.ahead.reading if reading.ahead else None
        self._ahead = None
        self.member.free(self._sequence)

    def _read(self, num_logits: int = 1) -> Future[Reading]:
        self._foreseen = self._foresight()
        return self.member.read(self._sequence, num_logits, self._foreseen)

    def _foresight(self) -> Foreseen:
        """What is known before a pass."""
        return Foreseen()

    def _note_begun(self, reading: Reading) -> None:
        """A pass is over: whether the member has begun another behind it; if it was in vain, so is that."""
        was_in_vain, self._is_in_vain = self._is_in_vain, False
        self._begun = reading.ahead
        if was_in_vain and self._begun:
            self._abandon_begun()
        elif was_in_vain:
            self._forget_begun()

    def _go_on(self, begun: Ahead) -> None:
        """What the member has begun is what it was to read."""
        self._ahead, self._num_ahead, self._foreseen = begun.reading, len(begun.ids), begun.foreseen
        self._num_held += len(begun.ids)
        self._begun = None

    def _abandon_begun(self) -> None:
        """What the member has begun, if anything, is not what it was to read."""
        if not self._begun or self._is_in_vain:
            return
        self._begun.foreseen.is_favourite = False
        if self._begun.reading.cancel():
            self._forget_begun()
        else:
            self._ahead, self._num_ahead, self._is_in_vain = self._begun.reading, len(self._begun.ids), True

    def _forget_begun(self) -> None:
        self._sequence.rewrite(self._num_held, [])
        self._begun, self._is_in_vain = None, False

    def _begin(self, ahead: Future[Reading] | None) -> None:
        if ahead and ahead is self._ahead:
            return  # the member has begun it of itself
        self._ahead = ahead
        self._num_ahead = self._sequence.num_uncomputed if ahead else 0
        if not ahead:
            self.skip_step()

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
            ahead = [under_way for context in self.idle if (under_way := context.read_along())]
            wait([future, *(under_way for under_way in ahead if not under_way.done())], _POLL_S, FIRST_COMPLETED)
        else:
            with suppress(TimeoutError):
                future.exception(_POLL_S)


def gather(
    contexts: Iterable[MemberContext],
    timeout_s: float,
    stopped: threading.Event,
    idle: SequenceOf[MemberContext] = (),
    meanwhile: Callable[[dict[str, Expectation], list[MemberContext]], None] | None = None,
) -> tuple[dict[str, Expectation], list[MemberError]]:
    """Ask all `contexts` at once; what they expect by member name, and what failed.

    Args:
        idle: contexts of members that are not asked, but read along as long as the others are waited for.
        meanwhile: called with what is expected so far, where others are still to be waited for, and with these.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    waiting = _Wait(time.monotonic() + timeout_s, stopped, idle)
    for context in idle:
        context.read_along()
    expected: dict[str, Expectation] = {}
    errors: dict[str, MemberError] = {}
    by_time = sorted(asked, key=lambda pair: pair[0].usage.seconds)  # the slowest last
    for index, (context, future) in enumerate(by_time):
        try:
            expectation = None
            while expectation is None:
                expectation = context.expect(waiting.result(future, context.name) if future else None)
                future = None if expectation else context.ask()
            expected[context.name] = expectation
            if meanwhile and index < len(by_time) - 1:
                meanwhile(expected, [context for context, _ in by_time[index + 1 :]])
        except MemberError as error:
            errors[context.name] = error
    names = [context.name for context, _ in asked]
    return {name: expected[name] for name in names if name in expected}, [errors[n] for n in names if n in errors]
