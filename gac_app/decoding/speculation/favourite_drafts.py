"""Drafts that nobody waits for: the fastest member reads on by its own favourites while the others compute.

Where all members are asked at every step, or read along with a slower gate, and the likeliest token is taken, the
fastest one would wait for the slowest at each. Instead it reads its favourite as if that were chosen, and its next one
behind it. Where the favourite *is* chosen, it mostly knows what it likes best next when the step ends. The others then
read the chosen token and, in the same pass, this *draft*: where it is accepted, they have no pass to make for the step
behind.

A pass over two ids takes little more than one, and gives to the last bit what two would where a back end says so
(`Member.is_chunk_invariant`), so that the answer is the same as without drafts. Unlike with `Speculation`, which makes
drafts where members compute in turn, none is made that delays the members' next pass.
"""

from __future__ import annotations

from collections.abc import Iterable

from gac_app.decoding.contexts.prefix_context import PrefixContext
from gac_app.decoding.distribution.expectation import Expectation

_MOST_AHEAD = 2  # tokens that the drafting member reads behind those fed
_MUCH_FASTER = 1.5  # times as fast as any other it has to be: it may be busy with a wrong guess when a step begins


class FavouriteDrafts:
    """Who drafts for whom in one answer.

    Args:
        contexts: of the members taking part.
    """

    def __init__(self, contexts: Iterable[PrefixContext]) -> None:
        self._contexts = {context.name: context for context in contexts}
        self._drafter: PrefixContext | None = None
        self._num_ahead = 0
        self._can_offer = False

    def begin_step(self, first: list[str], alive: list[str], num_left: int) -> None:
        """Members are asked: those of `first`, then maybe all.

        Args:
            num_left: steps that may follow, in which the likeliest token is taken.
        """
        self._drafter, self._num_ahead = None, min(_MOST_AHEAD, num_left)
        contexts = [self._contexts[name] for name in alive if name in self._contexts]
        for context in contexts:
            context.num_favourites = 0
        if num_left and 1 < len(contexts) == len(alive):
            fastest, *others = sorted(contexts, key=_pass_s)
            reads_along = fastest.name not in first
            is_for_others = reads_along or len(first) == len(alive)
            self._can_offer = is_for_others and num_left > 1
            is_useful = not is_for_others or all(other.takes_drafts for other in others if other.name in first)
            is_faster = all(_pass_s(other) >= _MUCH_FASTER * _pass_s(fastest) for other in others)
            if is_useful and is_faster and fastest.usage.num_forwards:
                self._drafter = fastest
                fastest.num_favourites = self._num_ahead if reads_along else 0

    @property
    def is_on(self) -> bool:
        """Whether a member drafts at this step."""
        return self._drafter is not None

    def go_on(self, expected: dict[str, Expectation]) -> None:
        """Let the drafting member read on, if it is done with this step, while others are waited for."""
        if self._drafter and self._drafter.name in expected:
            self._drafter.read_favourites(self._num_ahead)

    def offer(self) -> None:
        """A token was fed: let the others read with it what the drafting member likes best behind it, if it knows."""
        draft_id = self._drafter.next_favourite() if self._drafter and self._can_offer else None
        for context in self._contexts.values():
            context.draft_id = None if context is self._drafter else draft_id

    def expects(self, token_id: int) -> bool:
        """Whether the next token was drafted, read by others as a draft, and is this one."""
        return any(context.draft_id == token_id for context in self._contexts.values())


def _pass_s(context: PrefixContext) -> float:
    """Seconds of a pass, a mean."""
    return context.usage.seconds / max(1, context.usage.num_forwards)
