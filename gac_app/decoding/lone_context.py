"""The context of a member that decodes by itself: its next pass begins before its last distribution is looked at."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from gac_app.decoding.context import MemberContext
from gac_app.decoding.expectation import Expectation
from gac_app.decoding.member import Member
from gac_app.decoding.reading import Reading
from gac_app.models.base import Sequence


class LoneContext(MemberContext):
    """Where no other member takes part, so that the favourite may be all that a step needs.

    Where every token is the favourite, the member's own thread reads it as soon as it has found it, and the session
    hears of the one pass while the next is under way. It is never more than that one pass ahead.

    Args:
        num_favourites: tokens that the answer may have, if each is to be the favourite; 0 = any token may be chosen.
    """

    def __init__(
        self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None, *, num_favourites: int = 0
    ) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._num_left = num_favourites
        self._lock = threading.RLock()  # over the sequence and all below: the member's thread changes them as well
        self._guess: int | None = None  # the token that is in the sequence, but was not fed
        self._guess_start = 0  # of its ids, in the sequence
        self._followed: Future[Reading] | None = None  # reads it
        self._is_wrong = False  # another token was fed

    @property
    def is_full(self) -> bool:
        with self._lock:
            return self._num_ids > self.member.context_length

    @property
    def written(self) -> bytes:
        with self._lock:
            ids = self._sequence.ids if self._guess is None else self._sequence.ids[: self._guess_start]
            return self.member.mapping.vocabulary.decode(ids[self.num_prompt_ids :] + self._fed)

    def ask(self) -> Future[Reading]:
        with self._lock:
            if self._ahead:
                return self._ahead
            self._sequence.extend(self._fed)
            self._fed.clear()
            self._num_ahead = self._sequence.num_pending
            self._ahead = reading = self.member.read(self._sequence, is_late=True)
        reading.add_done_callback(self._follow)
        return reading

    def read_ahead(self) -> Future[Reading]:
        return self.ask()

    def expect(self, reading: Reading | None) -> Expectation | None:
        with self._lock:
            if self._is_wrong:
                self._sequence.rewrite(self._guess_start, [])
                self._guess, self._is_wrong = None, False
            return super().expect(reading)

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        with self._lock:
            self._num_left -= 1
            if self._followed is None:
                return super().feed(token_id)
            self._ahead, self._followed = self._followed, None
            if token_id != self._guess:
                self._is_wrong = True  # the pass under way is waited for as any other is, then forgotten
                return super().feed(token_id)
            self._guess = None
            self._num_ahead = len(self._sequence.ids) - self._guess_start
            pieces = self._pieces(tuple(self._sequence.ids[self._guess_start :]))
            if self._ahead.done():
                self._follow(self._ahead)
            return pieces

    def close(self) -> None:
        with self._lock:
            followed, self._followed = self._followed, None
            super().close()
            if followed and not followed.cancel():
                self._num_forwards += 1
                self._num_tokens_read += 1

    @property
    def _num_ids(self) -> int:
        num_held = len(self._sequence.ids) if self._guess is None else self._guess_start
        return num_held + len(self._fed)

    def _follow(self, asked: Future[Reading]) -> None:
        """Read the favourite of the pass that the session asked for last, where the session is sure to take it."""
        with self._lock:
            is_last = self._num_left <= 1 or self._num_ids >= self.member.context_length
            if asked is not self._ahead or self._guess is not None or is_last or asked.cancelled() or asked.exception():
                return
            token_id = asked.result().last_favourite
            if token_id == self.member.mapping.union.end_id:
                return
            self._guess, self._guess_start = token_id, len(self._sequence.ids)
            self._sequence.extend(list(self.member.mapping.feed(token_id)))
            self._followed = followed = self.member.read(self._sequence, is_late=True)
        followed.add_done_callback(self._follow)
