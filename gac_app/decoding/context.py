"""One member's context within one session: what it has read, and what it expects next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

import torch

from gac_app.decoding.covers import Boundary, Covers, Row
from gac_app.decoding.events import MemberUsage
from gac_app.decoding.member import TOP_K, Member, Reading
from gac_app.decoding.ranking import top_k
from gac_app.errors import MemberError
from gac_app.models.base import Sequence

_POLL_S = 0.1  # how often a wait looks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (no error: somebody asked for it)
    """The session was stopped while it waited for a member."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a member taking part in a step expects next.

    Attributes:
        row: its distribution.
        top_probs_K, top_ids_K: its favourites, best first.
        num_read: ids read for it; 0 where the member needed no forward pass.
        seconds: of the forward pass, shared with what was batched into it.
    """

    row: Row
    top_probs_K: torch.Tensor
    top_ids_K: torch.Tensor
    num_read: int
    seconds: float

    @property
    def confidence(self) -> float:
        """The largest probability: what a gate looks at (paper, section 3.3)."""
        return float(self.top_probs_K[0])


class MemberContext:
    """The sequence that one session keeps in one member. A member that is not asked keeps its ids pending.

    Args:
        member: whose context this is.
        prompt_ids: the prompt in the member's own ids.
        sequence: one that holds `prompt_ids` already, the last of them pending at least; None = a new one.
    """

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        self.member = member
        self.num_prompt_ids = len(prompt_ids)
        self._sequence = sequence or member.open(prompt_ids)
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

    def ask(self) -> Future[Reading] | None:
        """Read whatever is pending; None where nothing needs to be read."""
        return self.member.read(self._sequence)

    def expect(self, reading: Reading | None) -> Expectation | None:
        """What follows from the reading that was asked for; None where there is more to ask."""
        if reading is None:
            raise RuntimeError("this context always reads")
        self._count(reading)
        row = Row(reading.probs_NU[-1])
        return Expectation(row, reading.top_probs_NK[-1], reading.top_ids_NK[-1], reading.num_read, reading.seconds)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        """Append a union token; returns the pieces by which the member spells it.

        Args:
            is_open: the tokens of some members go on beyond it; this kind of context lets all end there.
        """
        ids = self.member.mapping.feed(token_id)
        self._sequence.extend(list(ids))
        return self._pieces(ids)

    def close(self) -> None:
        self.member.free(self._sequence)

    def _count(self, reading: Reading) -> None:
        self._num_forwards += 1
        self._num_tokens_read += reading.num_read
        self._seconds += reading.seconds

    def _pieces(self, ids: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(self.member.mapping.vocabulary.token_bytes[own] or b"" for own in ids)


class PrefixContext(MemberContext):
    """A context whose member may be inside one of its own tokens when another member's ends (see `covers`)."""

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._covers = Covers(member.mapping)
        self._chain = list(self._covers.boundaries)  # those whose ids the sequence holds, from the prompt's end on
        self._missed = bytearray()  # fed since the member was asked last
        self._rest = b""  # the end of what it has read by now that is no whole character
        self._is_current = False

    @property
    def is_full(self) -> bool:
        return not self._covers.fits(bytes(self._missed), self.member.context_length - self.num_prompt_ids)

    @property
    def written(self) -> bytes:
        return bytes(self._covers.text) + self._rest + bytes(self._missed)

    def ask(self) -> Future[Reading] | None:
        if self._missed:
            self._rest = self._covers.leap(bytes(self._missed))
            self._missed.clear()
        unread = self._covers.unread
        if not unread:
            return None
        self._hold(unread[-1])
        return self.member.read(self._sequence, num_logits=len(unread))

    def expect(self, reading: Reading | None) -> Expectation | None:
        if reading is not None:
            self._count(reading)
            self._covers.learn(reading.probs_NU)
        if self._rest:
            self._covers.advance(self._rest, is_open=True)
            self._rest = b""
            if self._covers.unread:
                return None
        self._is_current = True
        row = self._covers.row()
        if reading is not None and self._covers.is_settled:
            return Expectation(row, reading.top_probs_NK[-1], reading.top_ids_NK[-1], reading.num_read, reading.seconds)
        top_probs_NK, top_ids_NK = top_k(row.probs_U.unsqueeze(0), TOP_K)
        num_read, seconds = (reading.num_read, reading.seconds) if reading else (0, 0.0)
        return Expectation(row, top_probs_NK[0], top_ids_NK[0], num_read, seconds)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        """Append a union token.

        Returns:
            The pieces behind the boundary before: more bytes than the token has where it is read as a part of a longer
            one; none where the member is inside a token now.
        """
        token = self.member.mapping.union.token(token_id)
        if not self._is_current or not token:
            self._missed += token
            return (token,)
        self._is_current = False
        boundary = self._covers.advance(token, is_open=is_open)
        return self._pieces(boundary.ids) if boundary else ()

    def _hold(self, boundary: Boundary) -> None:
        """Let the sequence be the ids up to `boundary`."""
        new: list[Boundary] = []
        while boundary.parent and boundary not in self._chain[boundary.depth : boundary.depth + 1]:
            new.insert(0, boundary)
            boundary = boundary.parent
        del self._chain[boundary.depth + 1 :]
        self._chain += new
        ids = [own for added in new for own in added.ids]
        if ids:
            self._sequence.rewrite(self.num_prompt_ids + boundary.num_ids, ids)


def gather(
    contexts: Iterable[MemberContext], timeout_s: float, stopped: threading.Event
) -> tuple[dict[str, Expectation], list[MemberError]]:
    """Ask all `contexts` at once; what they expect by member name, and what failed.

    Raises:
        SessionStopped: as soon as `stopped` is set.
    """
    asked = [(context, context.ask()) for context in contexts]
    deadline = time.monotonic() + timeout_s
    expected: dict[str, Expectation] = {}
    errors: list[MemberError] = []
    for context, future in asked:
        try:
            expectation = None
            while expectation is None:
                reading = _result(future, context.name, deadline, stopped) if future else None
                expectation = context.expect(reading)
                future = None if expectation else context.ask()
            expected[context.name] = expectation
        except MemberError as error:
            errors.append(error)
    return expected, errors


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
