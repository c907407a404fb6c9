"""From tokens' bytes to text that may be shown: whole characters only, and never half a stop string."""

from __future__ import annotations

import codecs

from gac_app.decoding.events import StepTrace, TokenEvent


class TextStream:
    """Turns steps into events whose texts, joined, are the answer.

    A character cut over several tokens appears with the token that completes it; bytes that are no UTF-8 become
    U+FFFD, as in a decoding of the whole. Events are held back while their text may begin a stop string.
    """

    def __init__(self, stop_strings: tuple[str, ...] = ()) -> None:
        self._stop_strings = stop_strings
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held: list[TokenEvent] = []
        self._shown: list[str] = []
        self.is_stopped = False

    @property
    def text(self) -> str:
        """What has been released so far."""
        return "".join(self._shown)

    def push(self, step: StepTrace, is_last: bool = False) -> list[TokenEvent]:
        """Take a step's token; returns the events that may be shown now.

        Args:
            is_last: nothing follows, so nothing is held back and a character left incomplete is replaced.
        """
        self._held.append(TokenEvent(self._decoder.decode(step.token, final=is_last), step))
        held_text = "".join(event.text for event in self._held)
        stop_at = min((at for stop in self._stop_strings if (at := held_text.find(stop)) >= 0), default=-1)
        if stop_at >= 0:
            self.is_stopped = True
            self._cut(stop_at)
            return self.release()
        return self.release() if is_last else self.release(len(held_text) - self._num_undecided(held_text))

    def release(self, num_chars: int | None = None) -> list[TokenEvent]:
        """The held events that end within the first `num_chars` characters of the held text; None = all."""
        released: list[TokenEvent] = []
        end = 0
        for event in self._held:
            end += len(event.text)
            if num_chars is not None and end > num_chars:
                break
            released.append(event)
        del self._held[: len(released)]
        self._shown += (event.text for event in released)
        return released

    def _num_undecided(self, held_text: str) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop_strings), default=0)
        for length in range(min(longest, len(held_text)), 0, -1):
            if any(stop.startswith(held_text[-length:]) for stop in self._stop_strings):
                return length
        return 0

    def _cut(self, stop_at: int) -> None:
        """Leave only the first `stop_at` characters of the held text; later events keep their steps without text."""
        start = 0
        for index, event in enumerate(self._held):
            self._held[index] = TokenEvent(event.text[: max(0, stop_at - start)], event.step)
            start += len(event.text)
