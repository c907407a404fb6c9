"""In the place of the package `spaces`, without a Hugging Face Space: it does what that one does with processes.

A generator that is decorated runs in a process forked for it, or in one that is idle; its arguments, values and errors
are pickled. It is iterated in a thread of that process, closed there when the caller closes it, and refused before
Gradio has launched a page. What was asked for is appended to the file that STUB_SPACES_LOG names.
"""

import inspect
import json
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from typing import Any

import gradio
from gradio.context import LocalContext

assert os.environ["SPACES_ZERO_GPU"]
_FORK = multiprocessing.get_context("fork")
_launch = gradio.Blocks.launch
_is_launched = _is_forked = False


@wraps(_launch)
def _launch_noting(*args: Any, **options: Any) -> Any:
    global _is_launched
    _is_launched = True
    return _launch(*args, **options)


gradio.Blocks.launch = _launch_noting  # type: ignore[method-assign]


class _Worker:
    def __init__(self, task: Callable[..., Iterator[Any]]) -> None:
        self.asked, self.said, self.stop = _FORK.SimpleQueue(), _FORK.SimpleQueue(), _FORK.Event()
        self.process = _FORK.Process(target=self._serve, args=(task,), daemon=True)
        self.process.start()
        threading.Thread(target=self._end_with_process, daemon=True).start()

    def _end_with_process(self) -> None:
        self.process.join()
        self.said.put(("aborted", None))

    def _serve(self, task: Callable[..., Iterator[Any]]) -> None:
        global _is_forked
        _is_forked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            args = self.asked.get()
            self.stop.clear()
            with ThreadPoolExecutor() as pool:
                pool.submit(copy_context().run, self._iterate, task, args)
            self.said.put(("end", None))

    def _iterate(self, task: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
        values: Any = task(*args)
        while True:
            try:
                value = next(values)
            except StopIteration:
                return
            except Exception as error:
                traceback.print_exc()
                self.said.put(("error", type(error).__name__))
                return
            if self.stop.is_set():
                values.close()
                return
            assert b"torch" not in pickle.dumps(value), "what crosses has no tensor in it"
            self.said.put(("value", value))


def GPU(task: Callable[..., Iterator[Any]], *, duration: Callable[..., int]) -> Callable[..., Iterator[Any]]:
    assert inspect.isgeneratorfunction(task)
    assert not _is_launched, "what is decorated after the launch gets no GPU"
    idle: list[_Worker] = []

    def gradio_handler(*args: Any) -> Iterator[Any]:
        assert _is_launched
        if _is_forked:
            yield from task(*args)
            return
        request = LocalContext.request.get(None)
        if request is None:
            raise gradio.Error("Space app has reached its GPU limit.")
        worker = idle.pop() if idle else _Worker(task)
        asked = {"seconds": duration(*args), "client": request.client.host, "pid": worker.process.pid}
        with open(os.environ["STUB_SPACES_LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123
            log.write(json.dumps(asked) + "\n")
        worker.asked.put(args)
        while True:
            kind, value = worker.said.get()
            if kind == "end":
                idle.append(worker)
                return
            if kind != "value":
                raise gradio.Error(value or "GPU task aborted", title="ZeroGPU worker error")
            try:
                yield value
            except GeneratorExit:
                worker.stop.set()
                while worker.said.get()[0] not in ("end", "aborted"):
                    pass
                idle.append(worker)
                raise

    return gradio_handler
