"""An answer step by step: look at what the members say, then feed a token.

Shape suffix: `U` the union vocabulary.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import SupportsIndex

import torch

from gac_app.decoding.loop import DecodingSession, StepView
from gac_app.decoding.trace import StepTrace
from gac_app.errors import RequestError
from gac_app.library.answer import Answer
from gac_app.library.closing import Closing, Owner
from gac_app.vocab.tokens import bytes_of


class Step:
    """What the members say at one step, as float32 tensors [U] over the union. They are copies.

    Attributes:
        weights: of the members that take part, by name, summing to 1.
        is_ensembled: several members take part, or one drawn to stand for all; otherwise the gate decides alone.
        confidence: the gate's, 0 to 1; None where a member answers alone.
    """

    def __init__(self, view: StepView) -> None:
        self._view = view
        self.weights = dict(view.mixture.weights)
        self.is_ensembled = view.is_ensembled
        self.confidence = view.gate.confidence

    @cached_property
    def probs(self) -> dict[str, torch.Tensor]:
        """By member, of those that take part, the gate first: what is combined, [U]. With alignment `prefix`, the
        probability of contested tokens has been added up.
        """
        return {name: self._view.mixture.aligned(name).clone() for name in self._view.mixture.distributions}

    @cached_property
    def own_probs(self) -> dict[str, torch.Tensor]:
        """By member, of those asked: its own distribution, before alignment, [U]."""
        return {name: asked.distribution.probs_U.clone() for name, asked in self._view.asked.items()}

    @cached_property
    def mixture(self) -> torch.Tensor:
        """The combined distribution, [U], before sampling's filters."""
        return self._view.mixture.probs_U.clone()

    @property
    def argmax_id(self) -> int:
        """The union id of the likeliest token of the mixture."""
        return self._view.mixture.argmax_id


class Decoding(Closing):
    """An answer under way; made by `Gac.decode`. Not for several threads at once. It keeps its `Gac` from being closed
    by itself.

    Example:
        >>> with gac.decode("Name three colours.") as decoding:
        ...     while not decoding.is_finished:
        ...         step = decoding.look()
        ...         decoding.feed(step.argmax_id)
    """

    def __init__(self, session: DecodingSession, owner: Owner, give_back: Callable[[], None]) -> None:
        self._session, self._owner = session, owner
        self._union = owner.ensemble.union
        self._release = weakref.finalize(self, _end, session, give_back)
        self._release.atexit = False  # its owner is closed then
        self._view: StepView | None = None
        self._steps: list[StepTrace] = []

    @property
    def text(self) -> str:
        """The text so far, without what may begin a stop string."""
        return self._session.text

    @property
    def is_finished(self) -> bool:
        """Whether END was fed, a stop string was written, a limit is reached, or it is closed."""
        return self._session.is_finished or not self._release.alive

    def look(self) -> Step:
        """The next step, the same until a token is fed. Raises RequestError at the end, MemberError, RuleError."""
        return Step(self._looked())

    def feed(self, token: SupportsIndex | bytes | str | None = None) -> StepTrace:
        """Take the step with a token.

        Args:
            token: a union id, as an integer of Python, numpy or torch; or a token's bytes or text; b"" or "" is END;
                None = as the settings choose.

        Returns:
            the step as it is told everywhere.

        Raises:
            RequestError: the union has no such token, or the answer is at its end.
            ConstraintError: the token is not allowed here; another one may be fed.
            MemberError, RuleError.
        """
        token_id = None if token is None else self._id_of(token)
        step = self._session.feed(self._looked(), token_id)
        self._view = None
        self._steps.append(step)
        return step

    def close(self) -> Answer:
        """Free what it holds in the members; the answer so far."""
        self._release()
        return Answer.of(self._session.end(), tuple(self._steps))

    def _looked(self) -> StepView:
        self._owner.check_usable()
        if self.is_finished:
            raise RequestError("decoding", "the answer has come to its end")
        if self._view is None:
            self._view = self._session.look()
        return self._view

    def _id_of(self, token: SupportsIndex | bytes | str) -> int:
        if not isinstance(token, str | bytes):
            if 0 <= (token_id := operator.index(token)) < len(self._union):
                return token_id
            raise RequestError("token", f"unknown union id {token}; expected 0 to {len(self._union) - 1}")
        data = bytes_of(token) if isinstance(token, str) else token
        if data and data not in self._union.ids:
            raise RequestError("token", f"the union has no token {data!r}")
        return self._union.ids[data] if data else self._union.end_id


def _end(session: DecodingSession, give_back: Callable[[], None]) -> None:
    session.end()
    give_back()
