"""vLLM's names over a model in this process, and faults to plant: answers that are lost, late, repeated or errors."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from gac_app.models.base import Model
from tests.fakes import logits_after


@dataclass
class FakeVllm:
    """What is used of vLLM. Faults are of the next answers: "lose", "delay", "repeat" (the one before), "raise"."""

    model: Model  # computes
    StreamingInput: Any = field(default=lambda prompt, params: SimpleNamespace(prompt=prompt, params=params))
    faults: list[str] = field(default_factory=list)  # in order; "" = none
    chunks: dict[str, list[int]] = field(default_factory=dict)  # how many ids each had, by request
    arguments: dict[str, Any] = field(default_factory=dict)  # that the engine was made with
    environment: dict[str, str] = field(default_factory=dict)  # in which it was started
    num_open: int = 0  # requests that have not ended
    most_told: int = 1_000_000  # tokens, if more are asked for
    errored: bool = False  # every question raises, until it is started again
    is_shut: bool = False
    num_started: int = 0
    why_not: str = ""  # it does not start
    DELTA = "delta"
    version = "fake"

    @staticmethod
    def SamplingParams(**given: Any) -> Any:
        assert (given["max_tokens"], given["ignore_eos"], given["detokenize"]) == (1, True, False)
        return SimpleNamespace(**given)

    def AsyncEngineArgs(self, **given: Any) -> Any:
        self.arguments = given
        return given

    @property
    def AsyncLLM(self) -> Any:
        return SimpleNamespace(from_engine_args=self._start)

    def _start(self, arguments: Any) -> FakeVllm:
        if self.why_not:
            raise RuntimeError(self.why_not)
        self.num_started += 1
        self.environment = dict(os.environ)
        self.errored = self.is_shut = False
        return self

    def shutdown(self) -> None:
        self.is_shut = True

    async def generate(self, prompt: Any, params: Any, name: str) -> AsyncGenerator[Any, None]:
        """Checks that no two chunks of a request are under way."""
        self.num_open += 1
        self.chunks[name] = []
        try:
            if isinstance(prompt, dict):
                yield await self._answer(name, prompt["prompt_token_ids"], [], params)
                return
            ids: list[int] = []
            told: list[Any] = []
            async for chunk in prompt:
                given = chunk.prompt["prompt_token_ids"]
                ids += given
                self.chunks[name].append(len(given))
                given.append(-1)  # a list that is not fresh would show it
                told.append(await self._answer(name, ids, told, params))
                yield told[-1]
        finally:
            self.num_open -= 1

    async def _answer(self, name: str, ids: list[int], before: list[Any], params: Any) -> Any:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "raise" or self.errored:
            raise RuntimeError("planned")
        if fault == "lose":
            await asyncio.Event().wait()
        if fault == "delay":
            await asyncio.sleep(0.01)
        return before[-1] if fault == "repeat" and before else self._output(ids, params.logprobs)

    def _output(self, ids: list[int], num: int) -> Any:
        size = len(self.model.vocabulary)
        top = logits_after(self.model, ids)[0].log_softmax(0).topk(min(size if num < 0 else num, size, self.most_told))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        told = {own: SimpleNamespace(logprob=value) for own, value in pairs}
        return SimpleNamespace(prompt_token_ids=list(ids), outputs=[SimpleNamespace(logprobs=[told])])
