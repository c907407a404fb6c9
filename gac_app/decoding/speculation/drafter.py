"""`Drafter`: asks the members of an answer for what its steps need.

One member may draft: it reads likely tokens before they are chosen. The others verify several of these *draft tokens*
in one forward pass. A draft token that is chosen is *accepted*. If another token, the *recovered* one, is chosen, the
rest of the draft is dropped. There are two schedules, overlapped (`overlapped`) and in turn (`in_turn`); `schedule`
chooses one. The drafter here does not draft.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gac_app.decoding.contexts import MemberContext, gather
from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.errors import MemberError

Gathered = tuple[dict[str, MemberStep], list[MemberError]]


@dataclass(frozen=True, slots=True)
class DraftToken:
    """A token that is read before it is chosen.

    Attributes:
        drafted_by: the members that knew the place; () = the text itself (see `lookup`).
        confidence: its probability, combined from these.
        is_certain: no other member will be asked at this place.
    """

    token_id: int
    drafted_by: tuple[str, ...]
    confidence: float = 0.0
    is_certain: bool = False


class Drafter:
    """Asks members, in the order that costs least.

    Attributes:
        alive: the contexts of all members that have not failed, by name, the gate first.
    """

    def __init__(self, contexts: Sequence[MemberContext], rules: AnswerRules) -> None:
        self.alive = {context.name: context for context in contexts}
        self._rules = rules
        self._draft: list[DraftToken] = []

    def begin_step(self, first: Sequence[MemberContext], others: Sequence[MemberContext], num_left: int) -> None:
        """A step begins: `first` are asked, then maybe the `others`.

        Args:
            num_left: steps that may follow and at which, like at this one, the rules choose; 0 = this step's token may
                be forced.
        """

    def gather(self, contexts: Sequence[MemberContext], idle: Sequence[MemberContext] = ()) -> Gathered:
        """The steps of these members, by name, and what failed.

        Args:
            idle: of members that are not asked; they prefetch meanwhile.

        Raises:
            SessionStopped: soon after the answer is stopped.
        """
        return gather(contexts, self._rules.settings.step_timeout_s, self._rules.stopped, idle, self._meanwhile)

    def _meanwhile(self, answered: Iterable[str]) -> None:
        """These members have answered; others are still waited for."""

    def has_drafted(self, token_id: int) -> bool:
        """Whether this is the first draft token."""
        return bool(self._draft) and self._draft[0].token_id == token_id

    @property
    def drafted_by(self) -> tuple[str, ...] | None:
        """Whose the first draft token is; see `StepTrace`."""
        return self._draft[0].drafted_by if self._draft else None

    def feed(self, token_id: int) -> None:
        """A token was decided, and fed to the contexts."""
        self._draft = self._draft[1:] if self.has_drafted(token_id) else []

    def prefetch(self, contexts: Iterable[MemberContext]) -> None:
        """Begin the passes that the next step is sure to need, so that members compute while this step is reported."""
        for context in sorted(contexts, key=lambda context: -context.usage.seconds):  # the slowest first
            context.prefetch()
