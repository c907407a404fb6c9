"""The context of a member that decodes by itself: its next pass begins before its last distribution is looked at."""

from __future__ import annotations

from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution.reading import Foreseen
from gac_app.decoding.member import Member
from gac_app.models.base import Sequence


class LoneContext(MemberContext):
    """Where no other member takes part, so that the favourite may be all that a step needs.

    Where every token is the favourite, the member reads it as soon as it has found it, and the session hears of the one
    pass while the next is under way. It is never more than that one pass ahead.

    Args:
        num_favourites: tokens that the answer may have, if each is to be the favourite; 0 = any token may be chosen.
    """

    def __init__(
        self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None, *, num_favourites: int = 0
    ) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._num_left = num_favourites

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        self._num_left -= 1
        pieces = super().feed(token_id)
        if self._ahead and not self._is_in_vain:
            self._foreseen.is_favourite = self._will_take_favourite
        return pieces

    def _foresight(self) -> Foreseen:
        return Foreseen(is_favourite=self._will_take_favourite)

    @property
    def _will_take_favourite(self) -> bool:
        """Behind the pass that is asked for or under way, and that there is room for it and a step that needs it."""
        return self._num_left > 1 and self._num_held < self.member.context_length
