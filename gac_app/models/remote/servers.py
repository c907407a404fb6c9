"""An engine elsewhere, and what it may be asked; an inference server's connection. Questions are about all ids of a
sequence, so that one can be asked again; engines keep prefixes themselves.
"""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import httpx

from gac_app.member_config import ServerConfig
from gac_app.vocab.tokens import MemberVocabulary

T = TypeVar("T")

_CONNECT_S, _READ_S = 5.0, 120.0  # a long prompt takes its time; sessions wait as long as they want to
_FACTS = ("id", "root", "max_model_len")  # that a server tells of a model
# Read by the server's tokeniser and by ours: words, digits, spaces, marks, other scripts.
PROBE = "The quick brown fox, 1234 times:\n    def f(x): return x  # naïve café 日本語 русский"
_MOST_TEXT = 200  # characters of a server's own message


class ServerError(Exception):
    """A server gave no answer, or none that can be used; the message says what is wrong."""


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


class RefusedError(ServerError):
    """A server answered that it does not do what was asked."""


class Engine(ABC):
    """What computes a member's forward passes, as asked by several threads at once."""

    url: str  # where it is, as messages say
    _vocabulary: MemberVocabulary  # of the member

    def use(self, vocabulary: MemberVocabulary) -> None:
        """Take the member's vocabulary, before anything is asked. Raises ServerError if it is not that of the model."""
        self._vocabulary = vocabulary

    @abstractmethod
    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        """The `num` likeliest tokens after `ids`, or fewer. Raises ServerError."""

    def step(self, slot: int, ids: list[int], num: int) -> TopLogprobs:
        """As `next_tokens`, for the sequence in a slot, whose next `ids` mostly go on from these."""
        return self.next_tokens(ids, num)

    def end(self, slot: int) -> None:  # noqa: B027 (most keep nothing)
        """The sequence in a slot has ended."""

    def logprobs_of(self, ids: list[int], wanted: list[int], known: tuple[int, float]) -> list[float] | None:
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
        """The most ids of a sequence. Raises ServerError."""

    def identity(self) -> str:
        """What it says of its model; another text means another model. Raises ServerError."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class Server(Engine):
    """One inference server."""

    def __init__(self, config: ServerConfig) -> None:
        key = os.environ.get(config.api_key_env, "")
        self.url = config.url
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=False,  # a proxy of the environment is not meant for it
        )
        self._model = config.model

    def use(self, vocabulary: MemberVocabulary) -> None:
        super().use(vocabulary)
        if self.tokenize(PROBE) != vocabulary.encode(PROBE):
            raise ServerError(
                f"{self.url} reads a text as other tokens than the member's files: "
                "`source` should name the files of the model there"
            )

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The server's ids of a text without control tokens. Raises ServerError."""

    def identity(self) -> str:
        """What the server says of its model; another text means another model. Raises ServerError."""
        return self._asked("/v1/models", None, lambda answer: json.dumps([self._entry(answer).get(k) for k in _FACTS]))

    def _entry(self, answer: Any) -> Any:
        """The model among those that the server lists: the one of the configuration's name, or the first one."""
        listed = answer["data"]
        return next(entry for entry in listed if entry["id"] == self._model) if self._model else listed[0]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, path: str, body: dict[str, Any] | None, take: Callable[[Any], T]) -> T:
        """What `take` finds in the answer to a question, which is a POST if it has a body. Raises ServerError."""
        answer = self._answer("GET" if body is None else "POST", path, body)
        try:
            return take(answer)
        except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise ServerError(
                f"{self.url}{path} answered something unexpected: {error!r}; is it what `api` says?"
            ) from error

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        for is_last in (False, True):  # a kept connection may have been closed meanwhile
            try:
                response = self._client.request(method, path, json=body)
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if is_last:
                    raise ServerError(f"{self.url} broke the connection off: see its log") from error
            except httpx.TimeoutException as error:
                raise ServerError(f"{self.url} gave no answer in time: is it overloaded?") from error
            except httpx.HTTPError as error:
                raise ServerError(f"{self.url} cannot be reached: {error}; is the server running there?") from error
        if response.is_error:
            said = " ".join(response.text.split())[:_MOST_TEXT]
            kind = RefusedError if response.status_code in (400, 413, 422) else ServerError
            raise kind(f"{self.url}{path} answered {response.status_code}: {said}")
        try:
            return response.json()
        except ValueError as error:
            raise ServerError(f"{self.url}{path} answered something else than JSON") from error


def checked(told: list[tuple[int, float]], num: int) -> TopLogprobs:
    """The `num` likeliest of some ids with their log-probabilities. Raises ValueError."""
    if not told:
        raise ValueError("no tokens")
    if any(math.isnan(logprob) or logprob > 1e-3 for _, logprob in told):
        raise ValueError(f"no logarithms of probabilities: {told[:3]}")
    told = sorted(told, key=lambda pair: -pair[1])[:num]  # some add the token that they took
    ids, logprobs = [own for own, _ in told], [logprob for _, logprob in told]
    if len(set(ids)) < len(ids) or math.fsum(map(math.exp, logprobs)) > 1.01:
        raise ValueError(f"no distribution: {told[:3]}")
    return TopLogprobs(ids, logprobs, logprobs[-1])
