"""Waiting for members."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from contextlib import suppress

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution import MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.errors import MemberError
from gac_app.models.sequence import KVSequence

POLL_S = 0.1  # seconds between checks whether the session was stopped


class SessionStopped(Exception):  # noqa: N818 (not an error: it was asked for)
    """The session was stopped while it waited for a member."""


class Wait:
    """Waits for reads of sequences, as long as each may take and until it is stopped (see `KVSequence`)."""

    def __init__(self, sequences: Iterable[KVSequence]) -> None:
        self._progress = dict.fromkeys(sequences, -1)
        self._seen_at = dict.fromkeys(self._progress, 0.0)  # when it last was another one
        self._note_progress()

    def until_done(self, future: Future[ReadResult], member: Member, sequence: KVSequence) -> None:
        """Raises SessionStopped; MemberError if nothing of the sequence is read within its `timeout_s`."""
        while True:
            if sequence.stopped.is_set():
                future.cancel()
                raise SessionStopped
            with suppress(TimeoutError):
                future.exception(POLL_S)
                return
            self._note_progress()
            if time.monotonic() - self._seen_at[sequence] > sequence.timeout_s:
                future.cancel()
                raise MemberError(member.name, "timeout", member.why_late)

    def _note_progress(self) -> None:
        """Of all sequences, since each may read a long prompt between others' steps."""
        for sequence, before in self._progress.items():
            if (progress := sequence.progress) != before:
                self._progress[sequence], self._seen_at[sequence] = progress, time.monotonic()


def gather(
    contexts: Iterable[MemberContext],
    meanwhile: Callable[[Collection[str]], None] = lambda answered: None,
) -> tuple[dict[str, MemberStep], list[MemberError]]:
    """Ask all `contexts` at once, and wait for them in this order. Returns their steps by member name, and the errors.

    Args:
        contexts: the slowest last, so that the others' answers are taken while it computes.
        meanwhile: called while members are waited for, with the names of those that have answered; first with none.

    Raises:
        SessionStopped: soon after the answer is stopped.
    """
    asked = [(context, context.ask()) for context in contexts]
    waiting = Wait([context.reads.sequence for context, _ in asked])
    meanwhile(())
    steps: dict[str, MemberStep] = {}
    errors: list[MemberError] = []
    for context, future in asked:
        try:
            member_step = None
            while member_step is None:
                if future:
                    waiting.until_done(future, context.member, context.reads.sequence)
                member_step = context.take()
                future = None if member_step else context.ask()
            steps[context.name] = member_step
            if context is not asked[-1][0]:
                meanwhile(steps)
        except MemberError as error:
            errors.append(MemberError(context.name, error.kind, error.message))  # a view fails as itself
    return steps, errors
