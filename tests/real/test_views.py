"""Views of a default model: they answer as the model does under their prompt, in common forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.models.message import Message
from tests.real.conftest import loaded

QUESTION = "How many legs have three cats?"


@pytest.fixture(scope="module")
def views() -> Iterator[Ensemble]:
    with closing(loaded("views.yaml")) as ensemble:
        yield ensemble


def text_of(ensemble: Ensemble, prompt: list[Message], alone: str) -> str:
    settings = ensemble.config.settings_from({"max_new_tokens": 12})
    *_, finished = ensemble.generate(prompt, settings, alone=alone)
    assert isinstance(finished, FinishedEvent)
    return finished.text


def test_a_view_answers_as_its_model_under_that_prompt(views: Ensemble) -> None:
    base, step_by_step, worked = views.config.members
    asked = Message("user", QUESTION)
    system = Message("system", step_by_step.system_prompt)
    assert text_of(views, [asked], step_by_step.name) == text_of(views, [system, asked], base.name)
    turns = [m for e in worked.examples for m in (Message("user", e.question), Message("assistant", e.answer))]
    assert text_of(views, [asked], worked.name) == text_of(views, [*turns, asked], base.name)


def test_three_views_take_part_in_each_step(views: Ensemble) -> None:
    events = list(views.generate(QUESTION, views.config.settings_from({"max_new_tokens": 8})))
    steps = [event.step for event in events if isinstance(event, TokenEvent)]
    assert steps
    assert all([member.member for member in step.members] == list(views.members) for step in steps)
