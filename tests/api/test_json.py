"""Answers that follow a schema, and biases, over the API."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from gac_app.decoding.constraints import Grammars
from gac_app.server.limits.callers import Callers
from tests.api.site import Site, events_of, streamed_text, text_of

llguidance = pytest.importorskip("llguidance")

LIGHT = {"properties": {"on": {"type": "boolean"}, "hue": {"enum": ["red", "green"]}}, "required": ["on", "hue"]}
LIGHT |= {"type": "object", "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "light", "schema": LIGHT, "strict": True}}


def is_light(text: str) -> bool:
    return list(json.loads(text)) == ["on", "hue"]


@pytest.mark.parametrize(("kind", "model"), [("chat", "gac/agreement"), ("text", "b"), ("response", "gac")])
def test_every_kind_of_answer_follows_it(here: Site, kind: str, model: str) -> None:
    fields: dict[str, Any] = {"response_format": FORMAT, "max_tokens": 300}
    if kind == "response":
        of_text = {"type": "json_schema", "name": "light", "schema": LIGHT}
        fields = {"text": {"format": of_text}, "max_output_tokens": 300}
    fields |= {"model": model}
    text = text_of(kind, here.ask(kind, **fields).json())
    assert is_light(text)
    assert streamed_text(kind, events_of(here.ask(kind, **fields, stream=True))) == text


def test_any_object_will_do(here: Site) -> None:
    choice = here.chat(response_format={"type": "json_object"}, max_tokens=6).json()["choices"][0]
    assert choice["message"]["content"].startswith("{")
    assert choice["finish_reason"] == "length"


def test_schemas_are_read_in_a_thread_of_their_own(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    loops, heavy, of, work = [], list[bool](), Grammars.of, Callers.work

    def noted(self: Grammars, schema: dict[str, Any]) -> Any:
        with suppress(RuntimeError):  # there is none
            loops.append(asyncio.get_running_loop())
        return of(self, schema)

    def works(self: Callers, client: str, do: Any, *, is_heavy: bool = False) -> Any:
        heavy.append(is_heavy)
        return work(self, client, do, is_heavy=is_heavy)

    monkeypatch.setattr(Grammars, "of", noted)
    monkeypatch.setattr(Callers, "work", works)
    for fields in ({"response_format": FORMAT}, {"gac": {"settings": {"json_schema": LIGHT}}}, {}):
        assert here.chat(**fields).status_code == 200
    assert loops == []
    assert heavy == [True, False, True, False, False, False]


def test_a_bias_is_by_the_models_own_ids(here: Site) -> None:
    ensemble = here.service.members.ensemble()
    own = ensemble.members["b"].mapping.vocabulary.token_bytes.index(b"model")
    for model, token_id in (("b", own), ("gac", ensemble.union.ids[b"model"])):
        answer = here.chat(model=model, logit_bias={str(token_id): 100}, max_tokens=3).json()
        assert answer["choices"][0]["message"]["content"] == "model" * 3
    body = {"model": "b", "prompt": "the", "max_tokens": 2, "logit_bias": {str(own): 100}}
    assert here.client.post("/v1/completions", json=body).json()["choices"][0]["text"] == "model" * 2
