"""An engine elsewhere, and what it may be asked; inference servers, and their dialects: what each is asked, and what it
answers. Questions are about all ids of a sequence, so that one can be asked again; engines keep prefixes themselves.
"""

from __future__ import annotations

import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import httpx

from gac_app.errors import ModelLoadError
from gac_app.member_config import ServerConfig
from gac_app.vocab.tokens import MemberVocabulary

T = TypeVar("T")

_CONNECT_S, _READ_S = 5.0, 120.0  # a long prompt takes its time; sessions wait as long as they want to
_FACTS = ("id", "root", "max_model_len")  # that a server tells of a model
# Read by the server's tokeniser and by ours: words, digits, spaces, marks, other scripts.
PROBE = "The quick brown fox, 1234 times:\n    def f(x): return x  # naïve café 日本語 русский"
_MOST_TEXT = 200  # characters of a server's own message
_FIELD = "completion_probabilities"
_LIKELY = 64.0  # a bias that makes tokens likelier than all others, with logits still exact to five digits
_LEAD = 40.0  # more, for the letter: it is surely taken, and float32 still has the shares of the others
_LEAST = 1e-38
_NO_SINGLE = "it does not tell of single tokens"
_MOST_WANTED = 2048  # single tokens asked about at once
_TRIES = 5
_SURELY = 10_000.0  # a bias that no other logit reaches


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
        """The most ids of a sequence, beside the token that it takes itself. Raises ServerError."""

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


class LlamaServer(Server):
    """llama.cpp's `llama-server`."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer[_FIELD][0]["top_logprobs"]
            return checked([(int(token["id"]), float(token["logprob"])) for token in top], num)

        # It tells nothing where the token that it takes itself is an end token or a part of a character. So it takes a
        # letter; what it tells comes before that bias.
        body = {"prompt": ids, "n_predict": 1, "n_probs": num, "temperature": 0, "cache_prompt": True}
        body["response_fields"] = [_FIELD]
        return self._asked("/completion", body | {"logit_bias": [[self._letter, _SURELY]]}, take)

    def logprobs_of(self, ids: list[int], wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        def take(answer: Any) -> list[float]:
            top = answer[_FIELD][0].get("top_probs")
            probs = {int(token["id"]): float(token["prob"]) for token in top or []}
            if known[0] not in probs:
                raise RefusedError(_NO_SINGLE)
            # They are shares of all these together; one whose true probability is known tells the others'.
            logs = {own: math.log(max(prob, _LEAST)) for own, prob in probs.items()}
            if self._letter in logs:
                logs[self._letter] -= _LEAD
            return [logs.get(own, math.log(_LEAST)) - logs[known[0]] + known[1] for own in wanted]

        if len(wanted) > _MOST_WANTED:
            return None
        bias = [[own, _LIKELY] for own in {*wanted, known[0]} - {self._letter}]
        bias.append([self._letter, _LIKELY + _LEAD])  # which it takes
        body = {"prompt": ids, "n_predict": 1, "n_probs": len(bias), "logit_bias": bias, "post_sampling_probs": True}
        rest = {"samplers": [], "temperature": 1.0, "cache_prompt": True, "response_fields": [_FIELD]}
        return self._asked("/completion", body | rest, take)

    def tokenize(self, text: str) -> list[int]:
        return self._asked("/tokenize", {"content": text, "add_special": False, "parse_special": False}, _tokens)

    def identity(self) -> str:
        return self._asked("/props", None, lambda answer: str(answer.get("model_path")))

    @cached_property
    def _letter(self) -> int:
        return self.tokenize("a")[-1]

    def context_length(self) -> int:
        return self._asked("/props", None, lambda answer: int(answer["default_generation_settings"]["n_ctx"]) - 1)


class VllmServer(Server):
    """vLLM's OpenAI-compatible server. `--max-logprobs` limits how many tokens it tells."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        # A batch with another client's question about single tokens tells too little of all others (seen with 0.32).
        # So this class has no such question, and asks again.
        for _ in range(_TRIES):
            told = self._completed(ids, num, _by_id, return_tokens_as_token_ids=True)
            if len(told) >= num:
                return checked(list(told.items()), num)
        raise ServerError(f"{self.url} told of {len(told):,} tokens and was asked for {num:,}")

    def _completed(self, ids: list[int], num: int, take: Callable[[dict[str, float]], T], **more: Any) -> T:
        """What `take` finds in the log-probabilities of the next token, by what the server calls tokens."""
        body = {"model": self._name, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": num, **more}
        return self._asked(
            "/v1/completions", body, lambda answer: take(answer["choices"][0]["logprobs"]["top_logprobs"][0])
        )

    def tokenize(self, text: str) -> list[int]:
        body = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return self._asked("/tokenize", body, _tokens)

    def context_length(self) -> int:
        return self._asked("/v1/models", None, lambda answer: int(self._entry(answer)["max_model_len"]) - 1)

    @cached_property
    def _name(self) -> str:
        """The model's name there."""
        return self._model or self._asked("/v1/models", None, lambda answer: str(self._entry(answer)["id"]))


class SglangServer(VllmServer):
    """SGLang's. Beside its own route for steps it has vLLM's routes."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer["meta_info"]["output_top_logprobs"][0]
            return checked([(int(own), float(logprob)) for logprob, own, *_ in top], num)

        return self._generated(ids, take, top_logprobs_num=num)

    def logprobs_of(self, ids: list[int], wanted: list[int], known: tuple[int, float]) -> list[float] | None:
        def take(answer: Any) -> list[float]:
            [told] = answer["meta_info"].get("output_token_ids_logprobs") or [[]]
            return _single({int(own): float(logprob) for logprob, own, *_ in told}, wanted)

        if len(wanted) > _MOST_WANTED:
            return None
        return self._generated(ids, take, token_ids_logprob=wanted)

    def _generated(self, ids: list[int], take: Callable[[Any], T], **more: Any) -> T:
        body = {"input_ids": ids, "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}}
        return self._asked("/generate", body | {"return_logprob": True, **more}, take)

    def context_length(self) -> int:
        return super().context_length() - 6  # it keeps these back


class OpenAiServer(VllmServer):
    """Any server with OpenAI's `/v1/completions` that takes ids. It tells texts of tokens, mostly few."""

    def next_tokens(self, ids: list[int], num: int) -> TopLogprobs:
        def take(texts: dict[str, float]) -> TopLogprobs:
            known = [(own, float(x)) for text, x in texts.items() if (own := self._id_of(text)) is not None]
            told = checked(known, num)
            # A text that is no token's, or several tokens', hides how likely a token is.
            return told if len(known) >= num else told._replace(most=0.0)

        return self._completed(ids, num, take)

    def tokenize(self, text: str) -> list[int]:
        try:
            return super().tokenize(text)
        except ServerError:  # it has no such route, so its tokeniser cannot be compared
            return self._vocabulary.encode(text)

    def context_length(self) -> int:
        return self._asked(
            "/v1/models", None, lambda answer: int(self._entry(answer).get("max_model_len") or 2**31) - 1
        )

    def _id_of(self, token: str) -> int | None:
        """The id of a token's text; None if that does not tell it."""
        if not token.startswith("bytes:"):
            return self._ids.get(token.encode())
        return self._ids.get(bytes.fromhex(token.removeprefix("bytes:").replace("\\x", "")))

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        vocabulary = self._vocabulary
        ids = {
            token: own for own, token in enumerate(vocabulary.token_bytes) if token and own not in vocabulary.byte_ids
        }
        return ids | {b"": min(vocabulary.end_ids)} if vocabulary.end_ids else ids


_SERVERS: dict[str, type[Server]] = {
    "llama-server": LlamaServer,
    "vllm": VllmServer,
    "sglang": SglangServer,
    "openai": OpenAiServer,
}


def connect(config: ServerConfig) -> Server:
    """The server of a member's configuration. Raises ModelLoadError if its key is missing."""
    if config.api_key_env and not os.environ.get(config.api_key_env):
        raise ModelLoadError(f"the environment variable {config.api_key_env} should hold the key of {config.url}")
    return _SERVERS[config.api](config)


def _by_id(top: dict[str, float]) -> dict[int, float]:
    """Of tokens that are told as `token_id:5`."""
    return {int(token.removeprefix("token_id:")): float(logprob) for token, logprob in top.items()}


def _single(logprobs: dict[int, float], wanted: list[int]) -> list[float]:
    """Raises RefusedError if they are not told, as by versions that do not know the question."""
    if any(own not in logprobs for own in wanted):
        raise RefusedError(_NO_SINGLE)
    return [logprobs[own] for own in wanted]


def _tokens(answer: Any) -> list[int]:
    return [int(own) for own in answer["tokens"]]
