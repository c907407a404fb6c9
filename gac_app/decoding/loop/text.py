"""From tokens' bytes to text that may be shown: whole characters, and never a part of a stop string."""

from __future__ import annotations

import codecs
from itertools import accumulate

from gac_app.decoding.trace import StepTrace, TokenEvent


class TextStream:
    """Turns tokens into events whose texts, joined, are the answer.

    A character that spans several tokens appears with the token that completes it. Invalid UTF-8 becomes U+FFFD, as if
    the whole answer were decoded at once. Events are held back while their text may begin a stop string.
    """

    def __init__(self, stop_strings: tuple[str, ...] = ()) -> None:
        self._stop_strings = stop_strings
        # What stop strings begin with, the longest first.
        begun = {stop[:length] for stop in stop_strings for length in range(1, len(stop))}
        self._begun = sorted(begun, key=len, reverse=True)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held: list[str] = []  # what each token adds
        self._steps: list[StepTrace] = []  # theirs
        self._num_ready = 0  # of these, how many may be shown
        self._shown: list[str] = []
        self.is_stopped = False

    @property
    def text(self) -> str:
        """The text released so far."""
        return "".join(self._shown)

    def take(self, token: bytes, is_last: bool = False) -> None:
        """Add a token. `show` must follow, with its step.

        Args:
            is_last: no token follows, so nothing is held back, and an incomplete character is replaced.
        """
        self._held.append(self._decoder.decode(token, final=is_last))
        held = "".join(self._held)
        stop_at = min((at for stop in self._stop_strings if (at := held.find(stop)) >= 0), default=-1)
        if stop_at >= 0:
            self.is_stopped = True
            self._cut(stop_at)
        if self.is_stopped or is_last or not self._begun:
            self._num_ready = len(self._held)
        else:
            num_chars = len(held) - self._num_undecided(held)
            self._num_ready = sum(end <= num_chars for end in accumulate(map(len, self._held)))

    def show(self, step: StepTrace) -> list[TokenEvent]:
        """The events that may be shown, given the step of the last token."""
        self._steps.append(step)
        return self._released(self._num_ready)

    def release(self) -> list[TokenEvent]:
        """All events held back; the answer is over."""
        return self._released(len(self._steps))

    def _released(self, count: int) -> list[TokenEvent]:
        released = [TokenEvent(*pair) for pair in zip(self._held[:count], self._steps[:count], strict=True)]
        del self._held[:count], self._steps[:count]
        self._shown += (event.text for event in released)
        return released

    def _num_undecided(self, held: str) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        return next((len(begun) for begun in self._begun if held.endswith(begun)), 0)

    def _cut(self, stop_at: int) -> None:
        """Keep only the first `stop_at` characters of the held text. Later tokens keep their steps, without text."""
        start = 0
        for index, text in enumerate(self._held):
            self._held[index] = text[: max(0, stop_at - start)]
            start += len(text)
