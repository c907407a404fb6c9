"""A fake inference server: llama.cpp's and vLLM's routes over a model in this process, and faults to plant."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import torch

from gac_app.models.base import Model, Read
from tests.models.loopback import serving

NAME = "tiny"
KEY = "a secret"


@dataclass
class FakeInference:
    """What the server has, and what it does wrong.

    Attributes:
        broken: gets a route's answer and gives what is sent instead.
        most: tokens that it tells at most; a question for more is an error.
        key: that it asks for; empty = none.
    """

    model: Model
    most: int = 1_000_000
    key: str = ""
    context_length: int = 512
    broken: Callable[[Any], Any] | None = None
    status: int = 200
    asked: list[int] = field(default_factory=list)  # how many tokens, at each step
    paths: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def top(self, ids: list[int], num: int) -> list[tuple[int, float]]:
        self.asked.append(num)
        with self.lock:
            sequence = self.model.new_sequence()
            sequence.extend(ids)
            [logits_NV] = self.model.read([Read(sequence)])
            self.model.free(sequence)
        logprobs = torch.log_softmax(logits_NV[0], 0)
        values, own = logprobs.topk(min(num, len(logprobs)))
        return list(zip(own.tolist(), values.tolist(), strict=True))

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status, and what is sent as JSON."""
        self.paths.add(path)
        num = body.get("n_probs") or body.get("logprobs") or 0
        if num > self.most:
            return 400, {"error": f"more than {self.most}"}
        ids = body.get("prompt", [])
        tokens = {"tokens": self.model.vocabulary.encode(body.get("content") or str(ids))}
        routes: dict[str, Callable[[], Any]] = {
            "/props": lambda: {"default_generation_settings": {"n_ctx": self.context_length}},
            "/tokenize": lambda: tokens,
            "/completion": lambda: self._completion(body, self.top(ids, num)),
            "/v1/models": lambda: {"data": [{"id": NAME, "max_model_len": self.context_length}]},
            "/v1/completions": lambda: {
                "choices": [{"logprobs": {"top_logprobs": [{f"token_id:{i}": p for i, p in self.top(ids, num)}]}}]
            },
        }
        return 200, routes[path]()

    def _completion(self, body: dict[str, Any], top: list[tuple[int, float]]) -> dict[str, Any]:
        """As llama.cpp's, it tells nothing where the token taken is no text by itself."""
        [(biased, _)] = body.get("logit_bias") or [(top[0][0], 0)]
        taken = self.model.vocabulary.token_bytes[biased]
        if not taken or not taken.isascii():
            return {"content": ""}
        return {"completion_probabilities": [{"top_logprobs": [{"id": i, "logprob": p} for i, p in top]}]}


@contextmanager
def served(fake: FakeInference) -> Iterator[str]:
    """The server's address, as long as the body runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*fake.answer(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if fake.key and self.headers["Authorization"] != f"Bearer {fake.key}":
                self._send(401, {"error": "no key"})
                return
            self._send(*fake.answer(self.path, body))

        def _send(self, status: int, answer: Any) -> None:
            if fake.broken:
                answer = fake.broken(answer)
            if answer is None:
                self.close_connection = True
                return
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status if fake.status == 200 else fake.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with serving(Handler) as url:
        yield url
