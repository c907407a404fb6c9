"""The servers' dialects: what each is asked, and what its answers mean. All questions are about ids, and have no state,
so that one can be asked again; the servers keep prefixes themselves.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import httpx

from gac_app.errors import ModelLoadError
from gac_app.member_config import ServerConfig

T = TypeVar("T")

_CONNECT_S, _READ_S = 5.0, 120.0  # a long prompt takes its time; sessions wait as long as they want to
_SURELY = 10_000.0  # a bias that no other logit reaches
_MOST_TEXT = 200  # characters of a server's own message


class ServerError(Exception):
    """A server gave no answer, or none that can be used; the message says what is wrong."""


class TopLogprobs(NamedTuple):
    """The likeliest next tokens.

    Attributes:
        ids: the model's own, [K].
        logprobs: natural logarithms of their probabilities, [K].
    """

    ids: list[int]
    logprobs: list[float]


class Server(ABC):
    """One inference server, as asked by several threads at once."""

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

    @abstractmethod
    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        """The `num` likeliest tokens after `ids`, or fewer. Raises ServerError."""

    @abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The server's ids of a text without control tokens. Raises ServerError."""

    @abstractmethod
    def context_length(self) -> int:
        """The most ids of a sequence. Raises ServerError."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, path: str, body: dict[str, Any] | None, take: Callable[[Any], T]) -> T:
        """What `take` finds in the answer to a question, which is a POST if it has a body. Raises ServerError."""
        answer = self._answer("GET" if body is None else "POST", path, body)
        try:
            return take(answer)
        except (LookupError, TypeError, ValueError, AttributeError, StopIteration) as error:
            raise ServerError(f"{self.url}{path} answered something unexpected: {error!r}") from error

    def _answer(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        for is_last in (False, True):  # a kept connection may have been closed meanwhile
            try:
                response = self._client.request(method, path, json=body)
                break
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if is_last:
                    raise ServerError(f"{self.url} broke the connection off") from error
            except httpx.TimeoutException as error:
                raise ServerError(f"{self.url} gave no answer in time") from error
            except httpx.HTTPError as error:
                raise ServerError(f"{self.url} cannot be reached: {error}") from error
        if response.is_error:
            said = " ".join(response.text.split())[:_MOST_TEXT]
            raise ServerError(f"{self.url}{path} answered {response.status_code}: {said}")
        try:
            return response.json()
        except ValueError as error:
            raise ServerError(f"{self.url}{path} answered something else than JSON") from error


class LlamaServer(Server):
    """llama.cpp's `llama-server`."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer["completion_probabilities"][0]["top_logprobs"]
            return _checked([int(token["id"]) for token in top], [float(token["logprob"]) for token in top])

        # It tells nothing where the token that it takes itself is an end token or a part of a character. So it takes a
        # letter; what it tells comes before that bias.
        body = {"prompt": ids, "n_predict": 1, "n_probs": num, "temperature": 0, "cache_prompt": True}
        return self._asked("/completion", body | {"logit_bias": [[self._letter, _SURELY]]}, take)

    def tokenize(self, text: str) -> list[int]:
        return self._asked("/tokenize", {"content": text, "add_special": False, "parse_special": False}, _tokens)

    @cached_property
    def _letter(self) -> int:
        return self.tokenize("a")[-1]

    def context_length(self) -> int:
        return self._asked("/props", None, lambda answer: int(answer["default_generation_settings"]["n_ctx"]))


class VllmServer(Server):
    """vLLM's OpenAI-compatible server. `--max-logprobs` limits how many tokens it tells."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer["choices"][0]["logprobs"]["top_logprobs"][0]
            return _checked([int(token.removeprefix("token_id:")) for token in top], [float(x) for x in top.values()])

        body = {"model": self._name, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": num}
        return self._asked("/v1/completions", body | {"return_tokens_as_token_ids": True}, take)

    def tokenize(self, text: str) -> list[int]:
        body = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return self._asked("/tokenize", body, _tokens)

    def context_length(self) -> int:
        def take(answer: Any) -> int:
            return int(next(model for model in answer["data"] if model["id"] == self._name)["max_model_len"])

        return self._asked("/v1/models", None, take)

    @cached_property
    def _name(self) -> str:
        """The model's name there; the first one's, if the configuration names none."""
        return self._model or self._asked("/v1/models", None, lambda answer: str(answer["data"][0]["id"]))


_SERVERS: dict[str, type[Server]] = {"llama-server": LlamaServer, "vllm": VllmServer}


def connect(config: ServerConfig) -> Server:
    """The server of a member's configuration. Raises ModelLoadError if its key is missing."""
    if config.api_key_env and not os.environ.get(config.api_key_env):
        raise ModelLoadError(f"the environment variable {config.api_key_env} should hold the key of {config.url}")
    return _SERVERS[config.api](config)


def _tokens(answer: Any) -> list[int]:
    return [int(own) for own in answer["tokens"]]


def _checked(ids: list[int], logprobs: list[float]) -> TopLogprobs:
    if not ids:
        raise ValueError("no tokens")
    if any(math.isnan(logprob) or logprob > 1e-3 for logprob in logprobs):
        raise ValueError(f"no logarithms of probabilities: {logprobs[:3]}")
    return TopLogprobs(ids, logprobs)
