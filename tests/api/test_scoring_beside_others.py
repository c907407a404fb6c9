"""What others wait for their first token while a program has documents scored: `pytest -m long -s` prints it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.clients import server
from tests.server.site import ROOT

MODEL, NUM_TRIALS, WARM_S = "gac/every-step", 7, 3.0
DOCUMENTS = [" ".join(f"{word}{number}" for word in range(100)) for number in range(16)]


def ask(client: httpx.Client, path: str, **fields: Any) -> float:
    """Seconds until the first event that has a text, or to the end."""
    began_s = time.monotonic()
    with client.stream("POST", path, json={"model": MODEL, **fields}, timeout=600) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if '"content":"' in line.replace(" ", "") and '"content":""' not in line.replace(" ", ""):
                return time.monotonic() - began_s
        return time.monotonic() - began_s


def chat(client: httpx.Client, num: int) -> float:
    asked = [{"role": "user", "content": "Name three colours of the rainbow."}]
    return ask(client, "/v1/chat/completions", messages=asked, max_tokens=num, stream=True)


def whole_chat(client: httpx.Client) -> None:
    asked = [{"role": "user", "content": "Tell a long story."}]
    ask(client, "/v1/chat/completions", messages=asked, max_tokens=64)


def score(client: httpx.Client) -> None:
    ask(client, "/v1/completions", prompt=DOCUMENTS, echo=True, logprobs=1, max_tokens=0)


@contextmanager
def beside(url: str, goes_on: Callable[[httpx.Client], None] | None) -> Iterator[None]:
    """Another address asks this again and again."""
    stop = threading.Event()

    def repeat() -> None:
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as client:
            while not stop.is_set() and goes_on:
                goes_on(client)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    time.sleep(WARM_S)
    yield
    stop.set()


@pytest.mark.long
@pytest.mark.real
@pytest.mark.process
def test_documents_cost_others_little_more_than_a_neighbour(tmp_path: Path) -> None:
    found = {}
    with server(ROOT / "configs" / "default.yaml") as (url, _), httpx.Client(base_url=url) as client:
        chat(client, 4)
        for name, goes_on in (("alone", None), ("one neighbour", whole_chat), ("documents", score)):
            with beside(url, goes_on):
                seconds = [chat(client, 1) for _ in range(NUM_TRIALS)]
                print(name, [round(s, 2) for s in seconds], flush=True)
            found[name] = statistics.median(seconds)
            print(f"first token, {name}: median {found[name]:.2f} s, longest {max(seconds):.2f} s")
    assert found["documents"] <= 1.5 * found["one neighbour"]
