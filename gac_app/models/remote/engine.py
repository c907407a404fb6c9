"""An engine elsewhere, and what it may be asked. Questions are about all ids of a sequence, so that one can be asked
again; engines keep prefixes themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

from gac_app.vocab.tokens import MemberVocabulary

ANSWER_S = 120.0  # for an answer that no step waits for


class ServerError(Exception):
    """A server gave no answer, or none that can be used; the message says what is wrong."""


class RefusedError(ServerError):
    """A server answered that it does not do what was asked."""


class AbsentError(ServerError):
    """A server is not there, or not yet."""


class BusyError(AbsentError):
    """A server answered that it cannot do it now.

    Attributes:
        after_s: how long it asks to be left alone.
    """

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class TopLogprobs(NamedTuple):
    """The likeliest next tokens.

    Attributes:
        ids: the model's own, [K].
        logprobs: natural logarithms of their probabilities, [K].
        most: what the logarithm of any other token's probability is at most.
    """

    ids: list[int]
    logprobs: list[float]
    most: float


class Engine(ABC):
    """What computes a member's forward passes, as asked by several threads at once."""

    url: str  # where it is, as messages say
    _vocabulary: MemberVocabulary  # of the member

    def use(self, vocabulary: MemberVocabulary) -> None:
        """Take the member's vocabulary, before anything is asked. Raises ServerError if it is not that of the model."""
        self._vocabulary = vocabulary

    @abstractmethod
    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        """The `num` likeliest tokens after `ids`, or fewer. Raises ServerError, after `wait_s` at the latest."""

    def _checked(self, told: list[tuple[int, float]], num: int) -> TopLogprobs:
        """The `num` likeliest of some ids with their log-probabilities. Raises ValueError, ServerError."""
        if not told:
            raise ValueError("no tokens")
        if any(math.isnan(logprob) or logprob > 1e-3 for _, logprob in told):
            raise ValueError(f"no logarithms of probabilities: {told[:3]}")
        told = sorted(told, key=lambda pair: -pair[1])[:num]  # some add the token that they took
        ids, logprobs = [own for own, _ in told], [logprob for _, logprob in told]
        if len(set(ids)) < len(ids) or math.fsum(map(math.exp, logprobs)) > 1.01:
            raise ValueError(f"no distribution: {told[:3]}")
        if outside := [own for own in ids if not 0 <= own < len(self._vocabulary)]:
            size = len(self._vocabulary)
            raise ServerError(
                f"{self.url} told of the id {outside[0]:,}, and the member's files have {size:,} tokens: "
                "`source` should name the files of the model there"
            )
        return TopLogprobs(ids, logprobs, logprobs[-1])

    def step(self, slot: int, ids: list[int], num: int, wait_s: float) -> TopLogprobs:
        """As `next_tokens`, for the sequence in a slot, whose next `ids` mostly go on from these."""
        return self.next_tokens(ids, num, wait_s)

    def end(self, slot: int) -> None:  # noqa: B027 (most keep nothing)
        """The sequence in a slot has ended."""

    def logprobs_of(
        self, ids: list[int], wanted: list[int], known: tuple[int, float], wait_s: float = ANSWER_S
    ) -> list[float] | None:
        """The log-probabilities of single tokens after `ids`; None = it cannot tell, or not of so many.

        Args:
            known: a likely token and its log-probability.

        Raises:
            ServerError: it gave no answer, or none that can be used.
        """
        return None

    def revive(self) -> None:  # noqa: B027 (most are started by others)
        """Start it again if it has died. Raises ServerError."""

    @abstractmethod
    def context_length(self) -> int:
        """The most ids of a sequence, beside the token that it takes itself. Raises ServerError."""

    def identity(self) -> str:
        """What it says of its model; another text means another model. Raises ServerError."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""
