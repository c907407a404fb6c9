"""Finds where a member's text first differs from the ensemble's. Texts are compared, not tokens: the same words may be
cut differently, and some models begin an answer with a space.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from gac_app.decoding.trace import StepOutline


class GrowingText:
    """The bytes of a stream's tokens, without leading white space."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.ends: list[int] = []  # end of each token in `text`
        self.is_ended = False  # with END

    def extend(self, steps: Sequence[StepOutline]) -> None:
        """Add new steps."""
        for step in steps:
            token = step.token
            self.is_ended = not token
            self.text += token if self.text else token.lstrip()
            self.ends.append(len(self.text))


class Fork:
    """Finds the first token with which a member's text differs from the ensemble's."""

    def __init__(self) -> None:
        self._num_equal = 0  # bytes

    def find(self, own: GrowingText, ensemble: GrowingText) -> int | None:
        """The position of the member's token; None while one text is the beginning of the other."""
        length = min(len(own.text), len(ensemble.text))
        ours, theirs = (stream.text[self._num_equal : length] for stream in (own, ensemble))
        if ours != theirs:
            differs_at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
            return bisect_right(own.ends, self._num_equal + differs_at)
        self._num_equal = length
        if own.is_ended and len(ensemble.text) > length:
            return len(own.ends) - 1
        if ensemble.is_ended and len(own.text) > length:
            return bisect_right(own.ends, length)
        return None


def forks_of(streams: Sequence[Sequence[StepOutline]], piece: int) -> dict[int, int]:
    """By index, where each whole stream leaves the first one, for those that do. Of each no more is read than needed, a
    piece at a time.
    """
    ensemble, *others = streams
    theirs, found = GrowingText(), dict[int, int]()
    for index, stream in enumerate(others, start=1):
        ours, fork = GrowingText(), Fork()
        for first in range(0, max(len(stream), len(ensemble)), piece):
            ours.extend(stream[first : first + piece])
            theirs.extend(ensemble[len(theirs.ends) : first + piece])
            if (position := fork.find(ours, theirs)) is not None:
                found[index] = position
                break
    return found
