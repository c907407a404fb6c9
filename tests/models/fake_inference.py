"""A fake inference server: routes of llama.cpp, vLLM and SGLang over a model in this process, and faults to plant."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import torch

from gac_app.models.base import Model
from tests.fakes import logits_after
from tests.models.loopback import Answer, serving

NAME = "tiny"
KEY = "a secret"


@dataclass
class FakeInference:
    """What the server has, and what it does wrong."""

    model: Model
    most: int = 1_000_000  # tokens that it tells; a question for more is an error
    key: str = ""  # that it asks for; empty = none
    name: str = NAME  # of the model
    context_length: int = 512
    is_old: bool = False  # does not know questions about single tokens
    num_old: int = 0  # of these questions
    num_spoilt: int = (
        0  # of vLLM's next answers, that tell of the token taken alone, as beside questions about single ones
    )
    broken: Callable[[Any], Any] | None = None  # gets a route's answer and gives what is sent instead
    status: int = 200
    busy: list[tuple[int, str]] = field(default_factory=list)  # statuses of the next answers, with their `Retry-After`
    longest: int = 0  # ids of a question
    asked: list[int] = field(default_factory=list)  # how many tokens, at each step
    lock: threading.Lock = field(default_factory=threading.Lock)

    def top(self, ids: list[int], num: int) -> list[tuple[int, float]]:
        self.asked.append(num)
        values, own = self.logprobs(ids).topk(min(num, len(self.model.vocabulary)))
        return list(zip(own.tolist(), values.tolist(), strict=True))

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        with self.lock:
            return logits_after(self.model, ids)[0].log_softmax(0)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status, and what is sent as JSON."""
        for key in {"post_sampling_probs", "token_ids_logprob"} & body.keys() if self.is_old else ():
            del body[key]
            self.num_old += 1
        num = body.get("n_probs") or body.get("logprobs") or body.get("top_logprobs_num") or 1
        if num > self.most:
            return 400, {"error": f"more than {self.most}"}
        ids = body.get("prompt", body.get("input_ids", []))
        length = 0 if path == "/tokenize" else len(ids)
        self.longest = max(self.longest, length)
        if length >= self.context_length - 6 * (path == "/generate"):  # no room for a token; SGLang keeps some back
            return 400, {"error": "exceeds the context"}
        document = self.model.encode_raw(body.get("content") or str(ids))
        tokens = {"tokens": document[len(self.model.encode_raw("")) :]}  # as its own tokeniser puts a space first
        routes: dict[str, Callable[[], Any]] = {
            "/props": lambda: {"default_generation_settings": {"n_ctx": self.context_length}, "model_path": self.name},
            "/tokenize": lambda: tokens,
            "/completion": lambda: self._completion(body, ids, num),
            "/v1/models": lambda: {"data": [{"id": self.name, "max_model_len": self.context_length}]},
            "/v1/completions": lambda: self._completions(body, ids, num),
            "/generate": lambda: self._generated(body, ids, num),
        }
        return 200, routes[path]()

    def _generated(self, body: dict[str, Any], ids: list[int], num: int) -> dict[str, Any]:
        if wanted := body.get("token_ids_logprob"):
            logprobs = self.logprobs(ids)
            return {"meta_info": {"output_token_ids_logprobs": [[[float(logprobs[i]), i, None] for i in wanted]]}}
        return {"meta_info": {"output_top_logprobs": [[[p, i, None] for i, p in self.top(ids, num)]]}}

    def _completions(self, body: dict[str, Any], ids: list[int], num: int) -> dict[str, Any]:
        top = self.top(ids, num)
        if self.num_spoilt:
            self.num_spoilt -= 1
            top = [top[0], (0, -9999.0)]
        tokens = {f"token_id:{i}": p for i, p in top}
        if not body.get("return_tokens_as_token_ids"):
            texts = [(self.model.vocabulary.token_bytes[i] or b"<control>", p) for i, p in top]
            tokens = {_told(text): p for text, p in texts}
        return {"choices": [{"logprobs": {"top_logprobs": [tokens]}}]}

    def _completion(self, body: dict[str, Any], ids: list[int], num: int) -> dict[str, Any]:
        """As llama.cpp's, it tells nothing where the token taken is no text by itself."""
        bias = dict(body.get("logit_bias", []))
        if body.get("post_sampling_probs"):
            biased = self.logprobs(ids).double()
            biased[list(bias)] += torch.tensor(list(bias.values()))
            if not self._is_text(int(biased.argmax())):
                return {"content": ""}
            probs = torch.softmax(biased, 0).topk(num)
            told = zip(probs.indices.tolist(), probs.values.tolist(), strict=True)
            return {"completion_probabilities": [{"top_probs": [{"id": i, "prob": p} for i, p in told]}]}
        top = self.top(ids, num)
        if not self._is_text(next(iter(bias), top[0][0])):
            return {"content": ""}
        return {"completion_probabilities": [{"top_logprobs": [{"id": i, "logprob": p} for i, p in top]}]}

    def _is_text(self, own: int) -> bool:
        token = self.model.vocabulary.token_bytes[own]
        return bool(token) and token.isascii()


def _told(token: bytes) -> str:
    """As OpenAI writes a token."""
    text = token.decode("utf-8", "backslashreplace")
    return text if text.encode() == token else f"bytes:{text}"


@contextmanager
def served(fake: FakeInference) -> Iterator[str]:
    """The server's address, as long as the body runs."""

    def answer(request: BaseHTTPRequestHandler, data: bytes) -> Answer | None:
        status, found = 401, {"error": "no key"}
        if not data or not fake.key or request.headers["Authorization"] == f"Bearer {fake.key}":
            status, found = fake.answer(request.path, json.loads(data or "{}"))
        if fake.broken:
            found = fake.broken(found)
        if found is None:
            return None
        busy, after = fake.busy.pop() if fake.busy else (fake.status, "")
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        return status if busy == 200 else busy, {"Retry-After": after}, body

    with serving(answer) as url:
        yield url
