"""Inference servers, and their dialects: what each is asked, and what it answers."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

from gac_app.errors import ModelLoadError
from gac_app.member_config import ServerConfig
from gac_app.models.remote.engine import ANSWER_S, RefusedError, ServerError, TopLogprobs
from gac_app.models.remote.transport import Server

T = TypeVar("T")

_FIELD = "completion_probabilities"
_LIKELY = 64.0  # a bias that makes tokens likelier than all others, with logits still exact to five digits
_LEAD = 40.0  # more, for the letter: it is surely taken, and float32 still has the shares of the others
_LEAST = 1e-38
_NO_SINGLE = "it does not tell of single tokens"
_MOST_WANTED = 2048  # single tokens asked about at once
_TRIES = 5
_HALF = "\ufffd".encode()  # how many servers write a part of a character
_SURELY = 10_000.0  # a bias that no other logit reaches


class LlamaServer(Server):
    """llama.cpp's `llama-server`."""

    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer[_FIELD][0]["top_logprobs"]
            return self._checked([(int(token["id"]), float(token["logprob"])) for token in top], num)

        # It tells nothing where the token that it takes itself is an end token or a part of a character. So it takes a
        # letter; what it tells comes before that bias.
        body = {"prompt": ids, "n_predict": 1, "n_probs": num, "temperature": 0, "cache_prompt": True}
        body["response_fields"] = [_FIELD]
        return self.ask("/completion", body | {"logit_bias": [[self._letter, _SURELY]]}, take, wait_s)

    def logprobs_of(
        self, ids: list[int], wanted: list[int], known: tuple[int, float], wait_s: float = ANSWER_S
    ) -> list[float] | None:
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

        if len(wanted) > max(_MOST_WANTED, len(self._vocabulary) // 2):  # what it costs grows with their number
            return None
        bias = [[own, _LIKELY] for own in {*wanted, known[0]} - {self._letter}]
        bias.append([self._letter, _LIKELY + _LEAD])  # which it takes
        body = {"prompt": ids, "n_predict": 1, "n_probs": len(bias), "logit_bias": bias, "post_sampling_probs": True}
        rest = {"samplers": [], "temperature": 1.0, "cache_prompt": True, "response_fields": [_FIELD]}
        return self.ask("/completion", body | rest, take, wait_s)

    def tokenize(self, text: str) -> list[int]:
        return self.ask("/tokenize", {"content": text, "add_special": False, "parse_special": False}, _tokens)

    def identity(self) -> str:
        return self.ask("/props", None, lambda answer: str(answer.get("model_path")))

    @cached_property
    def _letter(self) -> int:
        return self.tokenize("a")[-1]

    def context_length(self) -> int:
        return self.ask("/props", None, lambda answer: int(answer["default_generation_settings"]["n_ctx"]) - 1)


class VllmServer(Server):
    """vLLM's OpenAI-compatible server. `--max-logprobs` limits how many tokens it tells."""

    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        # A batch with another client's question about single tokens tells too little of all others (seen with 0.32).
        # So this class has no such question, and asks again.
        def take(top: dict[str, float]) -> tuple[int, TopLogprobs | None]:
            told = [(int(token.removeprefix("token_id:")), float(logprob)) for token, logprob in top.items()]
            return len(told), self._checked(told, num) if len(told) >= num else None

        num_told = 0
        for _ in range(_TRIES):
            num_told, found = self._completed(ids, num, take, wait_s, return_tokens_as_token_ids=True)
            if found:
                return found
        raise ServerError(f"{self.url} told of {num_told:,} tokens and was asked for {num:,}")

    def _completed(
        self, ids: list[int], num: int, take: Callable[[dict[str, float]], T], wait_s: float, **more: Any
    ) -> T:
        """What `take` finds in the log-probabilities of the next token, by what the server calls tokens."""
        body = {"model": self._name, "prompt": ids, "max_tokens": 1, "temperature": 0, "logprobs": num, **more}
        return self.ask(
            "/v1/completions", body, lambda answer: take(answer["choices"][0]["logprobs"]["top_logprobs"][0]), wait_s
        )

    def tokenize(self, text: str) -> list[int]:
        body = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return self.ask("/tokenize", body, _tokens)

    def context_length(self) -> int:
        return self._of_model(lambda entry: int(entry["max_model_len"]) - 1)

    @cached_property
    def _name(self) -> str:
        """The model's name there."""
        return self._model or self._of_model(lambda entry: str(entry["id"]))


class SglangServer(VllmServer):
    """SGLang's. Beside its own route for steps it has vLLM's routes."""

    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        def take(answer: Any) -> TopLogprobs:
            top = answer["meta_info"]["output_top_logprobs"][0]
            return self._checked([(int(own), float(logprob)) for logprob, own, *_ in top], num)

        return self._generated(ids, take, wait_s, top_logprobs_num=num)

    def logprobs_of(
        self, ids: list[int], wanted: list[int], known: tuple[int, float], wait_s: float = ANSWER_S
    ) -> list[float] | None:
        def take(answer: Any) -> list[float]:
            [told] = answer["meta_info"].get("output_token_ids_logprobs") or [[]]
            logprobs = {int(own): float(logprob) for logprob, own, *_ in told}
            if not logprobs.keys() >= set(wanted):  # as of versions that do not know the question
                raise RefusedError(_NO_SINGLE)
            return [logprobs[own] for own in wanted]

        if len(wanted) > _MOST_WANTED:
            return None
        return self._generated(ids, take, wait_s, token_ids_logprob=wanted)

    def _generated(self, ids: list[int], take: Callable[[Any], T], wait_s: float, **more: Any) -> T:
        body = {"input_ids": ids, "sampling_params": {"max_new_tokens": 1, "temperature": 0, "ignore_eos": True}}
        return self.ask("/generate", body | {"return_logprob": True, **more}, take, wait_s)

    def context_length(self) -> int:
        return super().context_length() - 6  # it keeps these back


class OpenAiServer(VllmServer):
    """Any server with OpenAI's `/v1/completions` that takes ids. It tells texts of tokens, mostly few."""

    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        def take(texts: dict[str, float]) -> TopLogprobs:
            # "" first: an end token whose text is told overrides it.
            known = {own: float(x) for text, x in sorted(texts.items()) if (own := self._id_of(text)) is not None}
            if not known and any(_HALF in text.encode() for text in texts):
                return TopLogprobs([], [], 0.0)  # within a character
            told = self._checked([*known.items()], num)
            # A text that is no token's, or several tokens', hides how likely a token is.
            return told if len(known) >= num else told._replace(most=0.0)

        return self._completed(ids, num, take, wait_s)

    def tokenize(self, text: str) -> list[int]:
        try:
            return super().tokenize(text)
        except ServerError:  # it has no such route, so its tokeniser cannot be compared
            return self._vocabulary.encode(text)

    def context_length(self) -> int:
        return self._of_model(lambda entry: int(entry.get("max_model_len") or 2**31) - 1)

    def _id_of(self, token: str) -> int | None:
        """The id of a token's text; None if that does not tell it."""
        data = token.removeprefix("bytes:").encode()
        if token.startswith("bytes:"):  # such as `bytes: \xf0\x9f`: a space and half a character
            data = re.sub(rb"\\x([0-9a-f]{2})", lambda escape: bytes.fromhex(escape[1].decode()), data)
        return self._ids.get(data)

    @cached_property
    def _ids(self) -> dict[bytes, int]:
        vocabulary = self._vocabulary
        ids = {text.encode(): own for own, text in vocabulary.end_texts.items()}
        ids |= {
            token: own
            for own, token in enumerate(vocabulary.token_bytes)
            if token and own not in vocabulary.byte_ids and _HALF not in token
        }
        return ids | {b"": min(vocabulary.as_configured.end_ids)} if vocabulary.end_ids else ids


_SERVERS: dict[str, type[Server]] = {
    "llama-server": LlamaServer,
    "vllm": VllmServer,
    "sglang": SglangServer,
    "openai": OpenAiServer,
}


def connect(config: ServerConfig) -> Server:
    """The server of a member's configuration. Raises ModelLoadError if its key is missing, or no header can hold it."""
    key = os.environ.get(config.api_key_env, "").strip()  # a secret's file often ends with a newline
    if config.api_key_env and not re.fullmatch("[ -~]+", key):
        what = f"should hold the key of {config.url}, in ASCII"
        raise ModelLoadError(f"the environment variable {config.api_key_env} {what}")
    return _SERVERS[config.api](config, key)


def _tokens(answer: Any) -> list[int]:
    return [int(own) for own in answer["tokens"]]
