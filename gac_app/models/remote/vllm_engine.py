"""vLLM's engine, asked by its Python API.

It computes in a process of its own, and batches what it is asked. A sequence is a request whose input streams:
each chunk appends ids and asks for one token with the likeliest ones' log-probabilities. vLLM drops the token that it
samples itself when the next chunk comes. A chunk is sent when the one before is answered. After a rewind or a failure
the request is opened anew with all ids, of which vLLM mostly has kept the beginning. Versions without streaming input
are asked with all ids each time.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from gac_app.models.remote.engine import ANSWER_S, Engine, RefusedError, ServerError, TopLogprobs

_START_S = 1800.0  # until the weights are loaded
_CLOSE_S = 10.0
_STARTING = threading.Lock()  # engines start with variables of the environment, which all share


class VllmEngine(Engine):
    """One engine, on an event loop of its own.

    Args:
        name: the member's.
        vllm: vLLM's names: `AsyncLLM`, `AsyncEngineArgs`, `SamplingParams`, `DELTA`, and `StreamingInput`, if it has
            that.
        arguments: of `AsyncEngineArgs`.
        environment: variables that the engine's process gets.

    Raises:
        ServerError: it does not start.
    """

    def __init__(self, name: str, vllm: Any, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.url = f"vLLM, which computes {name},"
        self._vllm, self._max_length = vllm, int(arguments["max_model_len"])
        self._requests: dict[int, _Request] = {}  # by the sequence's slot, or a negative number if asked once
        self._running: set[asyncio.Task[Any] | None] = set()
        self._names = count(1)
        self._is_closed = False
        self._llm: Any = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=f"vllm-{name}", daemon=True).start()
        self._arguments, self._environment = dict(arguments), dict(environment)
        try:
            self._start()
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    def next_tokens(self, ids: list[int], num: int, wait_s: float = ANSWER_S) -> TopLogprobs:
        slot = -next(self._names)
        try:
            with self._failures_named():
                return self._told(self._opened(slot, num, _input(list(ids))).answer(wait_s), num)
        finally:
            self.end(slot)

    def step(self, slot: int, ids: list[int], num: int, wait_s: float) -> TopLogprobs:
        """It is opened anew where it fails once."""
        if self._vllm.StreamingInput is None:
            return self.next_tokens(ids, num, wait_s)
        if (kept := self._requests.get(slot)) and kept.goes_on_to(ids):
            with suppress(Exception):  # whatever it was, the next answer has it again
                return self._told(kept.answer_after(ids, wait_s), num)
        self.end(slot)
        try:
            with self._failures_named():
                return self._told(self._opened(slot, num).answer_after(ids, wait_s), num)
        except ServerError:
            self.end(slot)
            raise

    def revive(self) -> None:
        if self._llm is None or self._llm.errored:
            self._start()

    def end(self, slot: int) -> None:
        if request := self._requests.pop(slot, None):
            request.running.cancel()

    def context_length(self) -> int:
        """One less than vLLM's, which wants room for the token that it samples."""
        return self._max_length - 1

    def close(self) -> None:
        self._is_closed = True
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(_CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _start(self) -> None:
        """An engine in place of the one that has died, if there was one."""
        with _STARTING, _variables(self._environment), self._failures_named():
            self._check_open()
            self._llm = asyncio.run_coroutine_threadsafe(self._started(), self._loop).result(_START_S)

    def _opened(self, slot: int, num: int, prompt: Any = None) -> _Request:
        """A request with this prompt, or one whose input streams."""
        self._check_open()
        if self._llm is None:
            raise ServerError(f"{self.url} has died and did not start again: see its log")
        params = self._vllm.SamplingParams(
            max_tokens=1,
            temperature=0,
            ignore_eos=True,
            logprobs=-1 if num >= len(self._vocabulary) else num,
            detokenize=False,
            output_kind=self._vllm.DELTA,
        )
        request = _Request(self._vllm, params, self._loop)
        outputs = self._llm.generate(prompt or request.inputs(), params, str(next(self._names)))
        request.running = asyncio.run_coroutine_threadsafe(self._run(request, outputs), self._loop)
        self._requests[slot] = request
        return request

    def _check_open(self) -> None:
        if self._is_closed:
            raise ServerError(f"{self.url} was closed")

    def _told(self, told: Mapping[int, Any], num: int) -> TopLogprobs:
        if len(told) < min(num, len(self._vocabulary)):
            raise RefusedError(f"{self.url} told of {len(told):,} tokens and was asked for {num:,}")
        try:
            return self._checked([(own, float(one.logprob)) for own, one in told.items()], num)
        except ValueError as error:
            raise ServerError(f"{self.url} answered something unexpected: {error}") from error

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        """Raises ServerError in place of vLLM's errors, which have no class of their own."""
        try:
            yield
        except ServerError:
            raise
        except (TimeoutError, queue.Empty) as error:
            raise ServerError(f"{self.url} gave no answer in time: see its log") from error
        except Exception as error:
            raise ServerError(f"{self.url} failed: {error or type(error).__name__}; see its log") from error

    # --- on the loop

    async def _started(self) -> Any:
        await self._shut()
        return self._vllm.AsyncLLM.from_engine_args(self._vllm.AsyncEngineArgs(**self._arguments))

    async def _run(self, request: _Request, outputs: AsyncGenerator[Any, None]) -> None:
        self._running.add(task := asyncio.current_task())
        why: Exception = ServerError(f"{self.url} ended the request")
        try:
            async for output in outputs:
                request.answers.put(output)
        except Exception as error:
            why = error
        finally:
            self._running.discard(task)
            request.answers.put(why)

    async def _shut(self) -> None:
        self._requests.clear()
        if tasks := [task for task in self._running if task and task.cancel()]:
            await asyncio.wait(tasks)
        if self._llm:
            self._llm.shutdown()
        self._llm = None  # it would shut down once more as the program ends, and fail


class _Request:
    """A request of vLLM. One thread at a time asks it. It waits for answers itself: each turn of the loop would cost a
    step as long as the other members' threads hold the interpreter's lock.

    Attributes:
        answers: vLLM's, or why there are no more.
        running: hands them on, on the loop.
    """

    running: Future[None]

    def __init__(self, vllm: Any, params: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._vllm, self._params, self._loop = vllm, params, loop
        self._ids: list[int] = []  # that were sent, of a sequence
        self._last: dict[int, Any] = {}
        self._chunks: asyncio.Queue[list[int]] = asyncio.Queue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def goes_on_to(self, ids: list[int]) -> bool:
        return ids[: len(self._ids)] == self._ids

    def answer_after(self, ids: list[int], wait_s: float) -> dict[int, Any]:
        """The likeliest tokens after these ids, which go on from those before. The same ids give the same again."""
        if len(ids) > len(self._ids):
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, ids[len(self._ids) :])
            self._ids = list(ids)
            self._last = self.answer(wait_s)
        return self._last

    def answer(self, wait_s: float) -> dict[int, Any]:
        output = self.answers.get(timeout=wait_s)
        if isinstance(output, Exception):
            raise output
        if self._ids and (num := len(output.prompt_token_ids)) != len(self._ids):
            raise ValueError(f"an answer after {num} ids, not {len(self._ids)}")
        told: dict[int, Any] = output.outputs[0].logprobs[-1]
        return told

    async def inputs(self) -> AsyncGenerator[Any, None]:
        while True:  # a list of its own each time: vLLM may keep it and append to it
            yield self._vllm.StreamingInput(_input(await self._chunks.get()), self._params)


def _input(ids: list[int]) -> dict[str, Any]:
    return {"type": "token", "prompt_token_ids": ids}


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment that were not set, while a process starts."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]
