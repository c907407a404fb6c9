"""What the API costs: the same answers from the engine in this process, and from a server's stream of events."""

from __future__ import annotations

import json
import time

import httpx

from gac_app.bench.rows import Row, Target
from gac_app.bench.start import served, wait_for
from gac_app.bench.workbench import Workbench, decode, interleaved
from gac_app.errors import GacError

_TIMEOUT_S = 120.0


def measure(bench: Workbench) -> list[Row]:
    """The time of a token at every step, from the first to the last."""

    def by_engine(prompt: str) -> float:
        return decode(bench.ensemble.session(prompt, bench.settings())).ms_per_token

    def by_api(prompt: str) -> float:
        return _ms_per_token(client, prompt, bench.num_tokens)

    with served(bench.path) as (server, address), httpx.Client(base_url=address, timeout=_TIMEOUT_S) as client:
        wait_for(server, f"{address}/readyz")
        api_ms, engine_ms = interleaved(bench.prompts, by_api, by_engine)
    note = f"ms/token of the engine: {min(engine_ms):.1f}"
    return [Row.ratio("API stream: ms/token ÷ the engine's", api_ms, engine_ms, Target("<=", 1.02), note)]


def _ms_per_token(client: httpx.Client, prompt: str, num_tokens: int) -> float:
    """Mean time between tokens. Raises GacError if the answer ends before its limit."""
    body = {
        "model": "gac/every-step",
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "max_tokens": num_tokens,
        "temperature": 0,
    }
    marks, reason = [], None
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            [choice] = json.loads(line.removeprefix("data: "))["choices"]
            if choice["delta"].get("content"):
                marks.append(time.monotonic())
            reason = choice["finish_reason"]
    if reason != "length":
        raise GacError(f"the API's answer did not reach {num_tokens} tokens: {reason}")
    return 1000 * (marks[-1] - marks[0]) / (num_tokens - 1)  # a part of a character is no event
