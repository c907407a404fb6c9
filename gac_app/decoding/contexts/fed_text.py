"""The text of an answer as it was fed to one member, which may have read only a part of it."""

from __future__ import annotations

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.vocab.mapping import VocabMapping

_MOVING = 64  # bytes at the end, whose cut may change with what follows


class FedText:
    """What was fed since the prompt: bytes in the member's covers, then bytes that it has missed.

    Attributes:
        covers: of what the member has read or was asked to read.
        pending_bytes: fed since the member was last asked.
        incomplete_utf8: the incomplete character before them, which is in no cover yet.
        likely: pieces that may come next, according to another member; None = not known.
    """

    def __init__(self, mapping: VocabMapping) -> None:
        self.covers = Covers(mapping)
        self.pending_bytes = bytearray()
        self.incomplete_utf8 = b""
        self.likely: list[bytes] | None = None

    @property
    def written(self) -> bytes:
        """All bytes."""
        return bytes(self.covers.text) + self.incomplete_utf8 + bytes(self.pending_bytes)

    @property
    def is_covered(self) -> bool:
        """Whether the covers have all bytes."""
        return not self.pending_bytes and not self.incomplete_utf8

    @property
    def is_at_boundary(self) -> bool:
        """Whether a token of the member may end where the text does."""
        return self.is_covered and self.covers.last.end == len(self.covers.text)

    def fits(self, max_ids: int) -> bool:
        """Whether the text takes at most `max_ids` of the member's ids."""
        if self.covers.surely_fits(len(self.pending_bytes), max_ids):
            return True
        base, ids, rest = self.spelling()
        return base.num_ids + len(ids) + len(rest) <= max_ids

    def miss(self, token: bytes) -> None:
        """Add a token that the member is not asked about."""
        self.pending_bytes += self.incomplete_utf8 + token
        self.incomplete_utf8, self.likely = b"", None
        if len(self.pending_bytes) >= 2 * _MOVING:
            del self.pending_bytes[: self.covers.take_start(bytes(self.pending_bytes), _MOVING)]

    def spelling(self) -> tuple[Boundary, tuple[int, ...], bytes]:
        """How the member would read what it has missed; see `Covers.spelling`."""
        return self.covers.spelling(bytes(self.pending_bytes))

    def catch_up(self) -> None:
        """Put what was missed into the covers, except an incomplete character at its end."""
        self.incomplete_utf8 = self.covers.resync(bytes(self.pending_bytes), self.likely)
        self.pending_bytes.clear()

    def take_incomplete(self) -> None:
        """Put the incomplete character into the covers, whose boundaries must be read."""
        self.covers.advance(self.incomplete_utf8, is_partial=True)
        self.incomplete_utf8 = b""

    def caught_up(self) -> tuple[Covers, bytes]:
        """A copy of the covers after `catch_up`, and the incomplete character, without changing anything."""
        covers, missed = self.covers.fork(), bytes(self.pending_bytes)
        return covers, covers.resync(missed, self.likely) if missed else self.incomplete_utf8
