"""The time of a token as a caller of the API sees it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import httpx
import pytest

from gac_app.bench import api
from gac_app.errors import GacError


def client(reason: str, *contents: str | None) -> httpx.Client:
    """One whose server streams these parts of an answer."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        assert (asked["stream"], asked["temperature"], asked["max_tokens"]) == (True, 0, 5)
        parts = [{"delta": {"content": content}, "finish_reason": None} for content in contents]
        parts.append({"delta": {}, "finish_reason": reason})
        lines = [f"data: {json.dumps({'choices': [part]})}\n\n" for part in parts]
        return httpx.Response(200, text=": hello\n\n" + "".join(lines) + "data: [DONE]\n\n")

    return httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))


def test_it_lies_between_the_first_part_and_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "time", SimpleNamespace(monotonic=iter([1.0, 1.5, 3.0]).__next__))
    found = api._ms_per_token(client("length", "", "a", "b", None, "cd"), "prompt", 5)
    assert found == pytest.approx(1000 * (3.0 - 1.0) / 4)


def test_an_answer_that_ends_early_is_not_timed() -> None:
    with pytest.raises(GacError, match=r"did not reach 5 tokens: stop"):
        api._ms_per_token(client("stop", "a", "b"), "prompt", 5)
