"""Answers decoded in turn by one thread are those that each would be by itself."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.together import Part, decode_together
from gac_app.decoding.trace import Event, FinishedEvent, FinishReason
from gac_app.errors import UNEXPECTED
from gac_app.models.message import Message
from tests.fakes import FakeModel, Fault, config_of, ensemble_of

PROMPT = (Message("user", "Name three colours"),)


def ensemble(*models: FakeModel) -> tuple[Ensemble, Config]:
    config = config_of([model.name for model in models], {"mode": "every-step", "max_new_tokens": 8})
    return ensemble_of(list(models), config, InlineMember), config


def parts_of(config: Config, *names: str) -> tuple[Part, ...]:
    alone = [Part(name, PROMPT, config.settings, name) for name in names]
    return (Part("ensemble", PROMPT, config.settings), *alone)


def by_key(found: list[tuple[str, Event | str]]) -> dict[str, list[Event | str]]:
    keys = dict.fromkeys(key for key, _ in found)
    return {key: [event for one, event in found if one == key] for key in keys}


def test_each_answer_is_what_it_is_alone() -> None:
    together, config = ensemble(FakeModel("a", 1), FakeModel("b", 2))
    parts = pickle.loads(pickle.dumps(parts_of(config, "a", "b")))  # noqa: S301 (as it crosses between processes)
    found = list(decode_together(together, parts))
    assert [key for key, _ in found[:4]] == ["ensemble", "a", "b", "ensemble"], "a step of each in turn"
    for part in parts:
        last: Any = by_key(found)[part.key][-1]
        expected: Any = list(together.generate(list(PROMPT), config.settings, alone=part.alone))[-1]
        assert isinstance(last, FinishedEvent)
        assert (last.digest, last.text) == (expected.digest, expected.text)
        assert b"torch" not in pickle.dumps(by_key(found)[part.key]), "what crosses is on no device"


def test_one_that_breaks_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together, config = ensemble(FakeModel("a", 1), FakeModel("b", 2, fault=Fault("raise", 3)))
    parts = *parts_of(config, "a"), Part("odd", PROMPT, config.settings, "nobody")
    found = by_key(list(decode_together(together, parts)))
    last = {key: events[-1] for key, events in found.items()}
    assert "'nobody' is not a member" in str(last["odd"])
    assert isinstance(last["a"], FinishedEvent)
    assert last["a"].reason is not FinishReason.ERROR
    assert isinstance(last["ensemble"], FinishedEvent)
    assert last["ensemble"].reason is FinishReason.ERROR
    monkeypatch.setattr(Ensemble, "session", lambda *_, **__: 1 / 0)
    assert list(decode_together(together, parts_of(config))) == [("ensemble", UNEXPECTED)]


def test_closing_it_frees_the_sequences() -> None:
    model = FakeModel("a", 1)
    together, config = ensemble(model, FakeModel("b", 2))
    found = decode_together(together, parts_of(config, "a"))
    next(found)
    assert model.num_held
    found.close()
    assert not model.num_held
