"""`Drafter`: what stands between the steps of an answer and its members.

Some member drafts: it reads on along likely tokens. The others verify several of its *draft tokens* in one forward
pass. A draft token that is chosen is *accepted*; where another token is chosen, the *recovered* one, the draft behind
it is dropped. There are two schedules: overlapped (`overlapped`) where members compute apart, in turn (`in_turn`) where
they share a device. The drafter here drafts nothing: it asks for what a step needs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf

from gac_app.decoding.contexts.context import Look, MemberContext, gather
from gac_app.decoding.distribution.expectation import Expectation
from gac_app.errors import MemberError

Gathered = tuple[dict[str, Expectation], list[MemberError]]


class Drafter:
    """Asks members, in the order that costs least.

    Args:
        timeout_s: of a step.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    def begin_step(self, first: SequenceOf[MemberContext], others: SequenceOf[MemberContext], num_left: int) -> None:
        """Those of `first` are asked, then maybe the `others`.

        Args:
            num_left: steps that may follow in which, as in this one, the argmax is taken; 0 = another token may be.
        """

    def gather(
        self,
        contexts: SequenceOf[MemberContext],
        stopped: threading.Event,
        idle: SequenceOf[MemberContext] = (),
        look: Look | None = None,
    ) -> Gathered:
        """What these members expect at the step, by name, and what failed.

        Args:
            stopped: ends the wait when set.
            idle: of members that are not asked, but read along while others are waited for.
            look: shown what is there already while others are waited for.

        Raises:
            SessionStopped: as soon as `stopped` is set.
        """
        return gather(contexts, self._timeout_s, stopped, idle, look)

    def expects(self, token_id: int) -> bool:
        """Whether this was a draft token that others have read."""
        return False

    def feed(self, token_id: int) -> None:
        """A token was decided, and fed to the contexts."""

    def read_on(self, first: Iterable[MemberContext], others: Iterable[MemberContext]) -> None:
        """Begin the passes that the next step is sure to need, so that members compute while this one is told of."""
        for context in sorted(first, key=lambda context: -context.usage.seconds):  # the slowest first
            context.read_ahead()
        for context in others:
            context.skip_step()
