"""What speculation needs of a member's context: reading ahead of the answer, along a draft of what may follow."""

from __future__ import annotations

from abc import abstractmethod

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution import MemberStep


class DraftingContext(MemberContext):
    """A context followed by a draft of union tokens. Place `i` is after the answer and `i` draft tokens.

    The member's steps at drafted places are kept. While the answer goes as drafted, the member needs no further pass.
    Where it does not, the draft is forgotten, and the cache is rewound before the next read.

    Attributes:
        num_wanted: how many of the places `ask` is to make known. A pass reads the whole draft.
    """

    num_wanted = 1

    @abstractmethod
    def known_at(self, place: int) -> MemberStep | None:
        """What the member expects at a place; None if it is not read yet."""

    @property
    @abstractmethod
    def is_known(self) -> bool:
        """Whether the next step needs no pass of this member."""

    @property
    @abstractmethod
    def is_read(self) -> bool:
        """Whether `ask` has nothing to read."""

    @property
    @abstractmethod
    def num_uncomputed(self) -> int:
        """Ids to read, drafted ones included."""

    @abstractmethod
    def has_room_for(self, token_id: int) -> bool:
        """Whether the context can hold one more drafted token."""

    @abstractmethod
    def draft(self, token_id: int) -> None:
        """Append a union token to the draft."""

    @abstractmethod
    def forget(self) -> None:
        """Drop the draft, including what a failed pass may have left of it."""
