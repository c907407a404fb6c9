"""One member's context within one session: what it has read, and what it expects next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from collections.abc import Sequence as SequenceOf
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass

from gac_app.decoding.distribution import Draft, LazyStep, MayDraft, MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.errors import MemberError
from gac_app.models.base import Sequence

Look = Callable[[dict[str, MemberStep]], None]

_POLL_S = 0.1  # how often a wait checks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (not an error: somebody asked for it)
    """The session was stopped while it waited for a member."""


class MemberContext:
    """The sequence that one session keeps in one member. A member that is not asked leaves its ids uncomputed or reads
    them ahead, in a pass that nobody waits for until `ask` finds it. The sequence does not change during a pass.

    A member may draft: read its argmax token before it is fed. If that token is fed, the draft is accepted. Else its
    pass is waited for like any other, then dropped.

    Args:
        member: whose context this is.
        prompt_ids: the prompt in the member's own ids.
        sequence: one that already holds `prompt_ids`, with at least the last uncomputed; None = a new one.
        num_greedy: how many tokens the answer may have, each of them this member's argmax; 0 = any token may be chosen.
            If greedy, the member drafts one token after each pass: the session handles a token while the next is read.

    Attributes:
        likely: pieces that may come next, according to another member; None = not known. Only a context whose member
            may be inside a token uses it.
    """

    likely: list[bytes] | None = None

    def __init__(
        self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None, *, num_greedy: int = 0
    ) -> None:
        self.member = member
        self._num_greedy = num_greedy
        self.num_prompt_ids = len(prompt_ids)
        self._sequence = sequence or member.open(prompt_ids)
        self._num_held = len(self._sequence.ids)  # of its ids; draft ids may follow, which were not fed
        self._fed: list[int] = []  # not in the sequence yet
        self._ahead: Future[ReadResult] | None = None  # the pass that reads ahead
        self._num_ahead = 0  # ids that it reads
        self._num_asked = 0  # ids that the last pass asked for reads
        self._may_draft = MayDraft()  # for the last pass asked for
        self._draft: Draft | None = None  # none of its ids has been fed
        self._is_rejected = False  # something else was fed
        self._is_waited_for = False  # with passes that others share
        self._num_forwards = 0
        self._num_tokens_read = 0
        self._seconds = 0.0

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member's context, so that it cannot be asked."""
        return self._num_held + len(self._fed) > self.member.context_length

    @property
    def written(self) -> bytes:
        """The bytes fed since the prompt."""
        ids = self._sequence.ids[self.num_prompt_ids : self._num_held] + self._fed
        return self.member.mapping.vocabulary.decode(ids)

    @property
    def share_read(self) -> float:
        """Of the prompt, 0 to 1; safe to call from any thread."""
        return min(1.0, self._sequence.num_computed / max(1, self.num_prompt_ids))

    @property
    def usage(self) -> MemberUsage:
        return MemberUsage(self._num_forwards, self._num_tokens_read, self._seconds)

    def ask(self) -> Future[ReadResult] | None:
        """Read whatever is uncomputed; None if there is nothing to read. A pass that reads ahead comes first."""
        if self._ahead:
            return self._ahead
        self._sequence.extend(self._fed)
        self._fed.clear()
        self._num_held = len(self._sequence.ids)
        return self._read()

    def expect(self, result: ReadResult | None) -> MemberStep | None:
        """The member's step from the read that was asked for; None if more has to be asked."""
        if result is None:
            raise RuntimeError("this context always reads")
        self._count(result)
        self._ahead = None
        self._note_draft(result)
        if self._fed:
            self._reject_draft()
            return None
        return LazyStep(result)

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        """Append a union token; returns the pieces by which the member spells it.

        Args:
            is_partial: some member's token goes on beyond it; this kind of context ignores that.
        """
        ids = self.member.mapping.feed(token_id)
        self._num_greedy -= 1
        if self._draft and self._draft.ids == ids and not self._is_rejected:
            self._accept(self._draft)
        else:
            self._fed += ids
            self._reject_draft()
        if self._ahead and not self._is_rejected:
            self._may_draft.is_on = self._can_draft
        return self._pieces(ids)

    def read_ahead(self) -> Future[ReadResult] | None:
        """Begin to read what is uncomputed, unless a pass is under way. Returns the pass that `ask` would find.

        A pass that failed stays, so that `ask` finds it.
        """
        if self._ahead:
            if not self._ahead.done() or self._ahead.exception() or not self._fed:
                return self._ahead
            self.expect(self._ahead.result())
        self._begin(self.ask())
        return self._ahead

    def read_along(self) -> Future[ReadResult] | None:
        """As `read_ahead`, for a member that is not asked; it may read further."""
        return self.read_ahead()

    def skip_step(self) -> None:
        """Tell the member that, as far as is known, the next step needs no read."""
        if self._is_waited_for:
            self._is_waited_for = False
            self.member.skip_step(self._sequence)

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts in `usage`."""
        self._may_draft.is_on = False
        self._reject_draft()
        while self._ahead and not self._ahead.cancel():
            if not self._ahead.done():
                self._num_forwards += 1
                self._num_tokens_read += self._num_ahead
                break
            if self._ahead.exception():
                break
            result = self._ahead.result()
            self._count(result)
            self._ahead = result.draft.future if result.draft else None
        self._ahead = None
        self.member.free(self._sequence)

    def _read(self, num_logits: int = 1) -> Future[ReadResult]:
        self._may_draft = MayDraft(self._can_draft)
        self._num_asked = self._sequence.num_uncomputed  # now: the pass may be over as soon as it is asked for
        return self.member.read(self._sequence, num_logits, self._may_draft)

    @property
    def _can_draft(self) -> bool:
        """Whether there is room after the current pass, and a step that needs the next one."""
        return self._num_greedy > 1 and self._num_held < self.member.context_length

    def _note_draft(self, result: ReadResult) -> None:
        """A pass is over: note the draft after it. A draft after a rejected draft is rejected, too."""
        was_rejected, self._is_rejected = self._is_rejected, False
        self._draft = result.draft
        if was_rejected and self._draft:
            self._reject_draft()
        elif was_rejected:
            self._drop_draft()

    def _accept(self, draft: Draft) -> None:
        """The draft is what the member was to read."""
        self._ahead, self._num_ahead, self._may_draft = draft.future, len(draft.ids), draft.may_draft
        self._num_held += len(draft.ids)
        self._draft = None

    def _reject_draft(self) -> None:
        """The draft, if there is one, is not what the member was to read."""
        if not self._draft or self._is_rejected:
            return
        self._draft.may_draft.is_on = False
        if self._draft.future.cancel():
            self._drop_draft()
        else:
            self._ahead, self._num_ahead, self._is_rejected = self._draft.future, len(self._draft.ids), True

    def _drop_draft(self) -> None:
        self._sequence.rewrite(self._num_held, [])
        self._draft, self._is_rejected = None, False

    def _begin(self, ahead: Future[ReadResult] | None) -> None:
        if ahead and ahead is self._ahead:
            return  # an accepted draft
        self._ahead = ahead
        self._num_ahead = self._num_asked if ahead else 0
        if not ahead:
            self.skip_step()

    def _count(self, result: ReadResult) -> None:
        self._is_waited_for = True
        self._num_forwards += result.num_read > 0  # none if another sequence's result was reused
        self._num_tokens_read += result.num_read
        self._seconds += result.seconds

    def _pieces(self, ids: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(self.member.mapping.vocabulary.token_bytes[own] or b"" for own in ids)


@dataclass(frozen=True, slots=True)
class _Wait:
    """What ends a wait, and which contexts read along meanwhile, in passes that nobody waits for."""

    deadline: float
    stopped: threading.Event
    idle: SequenceOf[MemberContext]

    def result(self, future: Future[ReadResult], name: str) -> ReadResult:
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

    def _wait(self, future: Future[ReadResult]) -> None:
        """Wait a moment, or until the future is done; idle contexts go on reading."""
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
    look: Look | None = None,
) -> tuple[dict[str, MemberStep], list[MemberError]]:
    """Ask all `contexts` at once; returns their steps by member name, and the errors.

    Args:
        idle: contexts of members that are not asked, but read along while the others are waited for.
        look: called with the members' steps so far while others are still waited for.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    waiting = _Wait(time.monotonic() + timeout_s, stopped, idle)
    for context in idle:
        context.read_along()
    expected: dict[str, MemberStep] = {}
    errors: dict[str, MemberError] = {}
    by_time = sorted(asked, key=lambda pair: pair[0].usage.seconds)  # the slowest last
    for index, (context, future) in enumerate(by_time):
        try:
            member_step = None
            while member_step is None:
                member_step = context.expect(waiting.result(future, context.name) if future else None)
                future = None if member_step else context.ask()
            expected[context.name] = member_step
            if look and index < len(by_time) - 1:
                look(expected)
        except MemberError as error:
            errors[context.name] = error
    names = [context.name for context, _ in asked]
    return {name: expected[name] for name in names if name in expected}, [errors[n] for n in names if n in errors]
