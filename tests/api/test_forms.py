"""What holds for chats, completions and responses alike: a stream says what the whole says, who fails is named, and who
goes away ends its passes within a step.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.server.api.following import pieces_of
from gac_app.services.runs.views import StreamView
from tests.api.site import BODIES, Site, Sites, chat_body, events_of, refusal_of, streamed_text, text_of
from tests.fakes import SOON_S, FakeModel, Fault
from tests.server.site import served
from tests.services.house import until

FORMS: list[Any] = [*((kind, {}) for kind in BODIES), ("chat", {"logprobs": True, "top_logprobs": 3, "gac": {}})]
FORMS += [("text", {"echo": True, "logprobs": 2, "gac": {}}), ("text", {"echo": True, "logprobs": 1, "max_tokens": 0})]
FORMS += [("text", {"logprobs": 0, "seed": 4, "temperature": 1.0, "max_tokens": 60})]


@pytest.mark.parametrize(("kind", "fields"), FORMS)
def test_a_stream_says_the_same(here: Site, kind: str, fields: dict[str, Any]) -> None:
    whole = here.ask(kind, **fields).json()
    events = events_of(here.ask(kind, **fields, stream=True))
    assert streamed_text(kind, events) == text_of(kind, whole)
    if kind == "response":
        assert events[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]
        assert (events[-1]["type"], events[-1]["response"]["usage"]) == ("response.incomplete", whole["usage"])
        return
    [choice], choices = whole["choices"], [event["choices"][0] for event in events]
    assert [one["finish_reason"] for one in choices] == [None] * (len(choices) - 1) + [choice["finish_reason"]]
    assert (choices[-1].get("gac") or {}).get("digest") == (choice.get("gac") or {}).get("digest")
    for name in choice["logprobs"] or ():
        told = [entry for one in choices if one["logprobs"] for entry in one["logprobs"][name] or ()]
        assert told == (choice["logprobs"][name] or [])
    assert all("usage" not in event for event in events)
    assert here.num_under_way == 0


@pytest.mark.parametrize("kind", ["chat", "text"])
def test_the_usage_comes_last_where_it_is_asked_for(here: Site, kind: str) -> None:
    *others, last = events_of(here.ask(kind, stream=True, stream_options={"include_usage": True}))
    assert all(event["usage"] is None and event["choices"] for event in others)
    assert (last["choices"], last["usage"]) == ([], here.ask(kind).json()["usage"])
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 8


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_member_that_fails_is_named(site: Sites, kind: str, stream: bool) -> None:
    here = site([FakeModel("a", 1), FakeModel("b", 2, fault=Fault("raise", from_read=3))])
    answer = here.ask(kind, model="gac/every-step", stream=stream)
    if stream:
        *told, last = events_of(answer)
        assert (answer.status_code, bool(told)) == (200, True), "what came before, maybe in one piece"
        error = last["response"]["error"] if kind == "response" else last["error"]
    else:
        status, error = refusal_of(answer)
        assert status == 500
    assert error["message"].startswith("b: ")
    assert error["code"] == ("server_error" if stream and kind == "response" else "member_failed")
    until(lambda: here.num_under_way == 0)  # a stream tells the failure before its run is over


LONG = chat_body(model="gac/every-step", max_tokens=30_000)


@pytest.mark.parametrize("stream", [False, True])
def test_who_goes_away_ends_the_answer(site: Sites, stream: bool) -> None:
    models = [FakeModel("a", 1, delay_s=0.01, context_length=40_000), FakeModel("b", 2, context_length=40_000)]
    here = site(models)
    with served(here.host) as url, httpx.Client(base_url=url, timeout=1.0 if not stream else 30.0) as client:
        if stream:
            with client.stream("POST", "/v1/chat/completions", json={**LONG, "stream": True}) as answer:
                lines = answer.iter_lines()
                while '"content":"' not in next(lines):
                    pass
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=LONG)
            client.close()
        until(lambda: here.num_under_way == 0)
    assert len(models[0].batches) < 1000


class GrowingRun:
    """A run that goes on when it is told to."""

    def __init__(self) -> None:
        self.streams, self.over = {"0": StreamView("a")}, threading.Event()
        self.grow(FinishReason.LENGTH)

    def grow(self, reason: FinishReason) -> None:
        self.streams["0"].events.append(FinishedEvent(reason, "", 0, 0, 0.0, 0.0, {}))  # type: ignore[attr-defined]

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        self.tell = tell
        yield


def test_what_comes_while_a_piece_is_sent_follows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.api.following.PING_S", 0.5)
    run: Any = GrowingRun()

    async def reasons() -> list[FinishReason | None]:
        found = list[FinishReason | None]()
        async for piece in pieces_of(run):
            found.append(piece[2].reason if piece and piece[2] else None)
            if not run.over.is_set():
                run.grow(FinishReason.STOP)
                run.over.set()
                run.tell()
        return found

    assert asyncio.run(reasons()) == [FinishReason.LENGTH, FinishReason.STOP]


def test_a_stream_that_moves_up_in_the_queue_is_kept_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.api.following.PING_S", 0.05)
    run: Any = GrowingRun()

    async def second_piece() -> object:
        pieces, deadline = pieces_of(run), time.monotonic() + SOON_S
        await anext(pieces)
        second = asyncio.ensure_future(anext(pieces))
        while not second.done():
            assert time.monotonic() < deadline, "no ping"
            run.tell()
            await asyncio.sleep(0)
        return await second

    assert asyncio.run(second_piece()) is None


def test_a_stream_that_waits_is_kept_open(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.api.following.PING_S", 0.05)
    here = site([FakeModel("a", 1, delay_s=0.3), FakeModel("b", 2)])
    answer = here.chat(stream=True, max_tokens=2)
    assert ": ping" in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
