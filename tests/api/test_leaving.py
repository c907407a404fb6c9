"""A program that goes away ends its passes within a step, over a real port."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.api.site import Site, chat_body
from tests.fakes import FakeModel
from tests.server.site import served
from tests.services.house import until

Sites = Callable[..., Site]
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


def test_a_stream_that_waits_is_kept_open(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.server.api.following.PING_S", 0.05)
    here = site([FakeModel("a", 1, delay_s=0.3), FakeModel("b", 2)])
    answer = here.chat(stream=True, max_tokens=2)
    assert ": ping" in answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
