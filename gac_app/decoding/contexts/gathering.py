"""Waiting for members."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution import MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.errors import MemberError, SessionStopped
from gac_app.models.sequence import KVSequence

T = TypeVar("T")

POLL_S = 0.1  # seconds between checks whether the session was stopped


class Wait:
    """Waits for reads of sequences, as long as each may take and until it is stopped (see `KVSequence`)."""

    def __init__(self, sequences: Iterable[KVSequence]) -> None:
        self._progress = dict.fromkeys(sequences, -1)
        self._seen_at = dict.fromkeys(self._progress, 0.0)  # when it last was another one
        self._note_progress()

    def until_done(self, future: Future[ReadResult], member: Member, sequence: KVSequence) -> None:
        """Raises as `check`."""
        while True:
            self.check(future, member, sequence)
            with suppress(TimeoutError):
                future.exception(POLL_S)
                return

    def check(self, future: Future[ReadResult], member: Member, sequence: KVSequence) -> None:
        """Raises SessionStopped; MemberError if the read is not over, and nothing of the sequence was read within its
        `timeout_s`.
        """
        self._note_progress()
        is_stopped = sequence.stopped.is_set()
        if is_stopped or (time.monotonic() - self._seen_at[sequence] > sequence.timeout_s and not future.done()):
            future.cancel()
            raise SessionStopped if is_stopped else MemberError(member.name, "timeout", member.why_late)

    def _note_progress(self) -> None:
        """Of all sequences, since each may read a long prompt between others' steps."""
        for sequence, before in self._progress.items():
            if (progress := sequence.progress) != before:
                self._progress[sequence], self._seen_at[sequence] = progress, time.monotonic()


def gather(
    contexts: Iterable[MemberContext],
    idle: Iterable[MemberContext] = (),
    meanwhile: Callable[[Collection[str]], None] = lambda answered: None,
) -> tuple[dict[str, MemberStep], list[MemberError]]:
    """Ask all `contexts` at once. Returns their steps by member name, and the errors.

    Args:
        contexts: the fastest first.
        idle: read along, while the others are waited for.
        meanwhile: called as the waiting begins and whenever a read has ended while others are waited for, with the
            names of those that have answered.

    Raises:
        SessionStopped: soon after the answer is stopped.
    """
    asked = {context: context.ask() for context in contexts}
    waiting = Wait([context.reads.sequence for context in asked])
    for context in idle:
        context.read_along()
    steps: dict[str, MemberStep] = {}
    errors: list[MemberError] = []
    meanwhile(steps)
    while asked:
        is_waiting = True
        for context, future in [*asked.items()]:
            try:
                if future and not future.done():
                    waiting.check(future, context.member, context.reads.sequence)
                    continue
                is_waiting = False
                if member_step := context.take():
                    steps[context.name] = member_step
                else:
                    asked[context] = context.ask()
                    continue
            except MemberError as error:
                errors.append(MemberError(context.name, error.kind, error.message))  # a view fails as itself
            del asked[context]
            if asked:
                meanwhile(steps)
        if asked and is_waiting:
            with suppress(Empty):
                get_within(next(iter(asked)).reads.ended, POLL_S)
            meanwhile(steps)
    return steps, errors


def get_within(queue: SimpleQueue[T], seconds: float) -> T:
    """The next item. Raises Empty if none comes."""
    with suppress(Empty):
        return queue.get_nowait()
    if not seconds:
        raise Empty
    # After that only: before Python 3.13 a `get` that finds its time over as it begins to wait, waits for ever.
    return queue.get(timeout=seconds)
