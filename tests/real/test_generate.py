"""A member alone is the library's own `generate`; every context holds the same bytes."""

from __future__ import annotations

import re
from itertools import cycle
from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, StepTrace, TokenEvent

SCRIPTS = [
    "Les trois couleurs primaires sont",
    "Привет! Меня зовут",
    "中国的首都是",
    "日本の首都は",
    "안녕하세요, 저는",
    "عاصمة فرنسا هي",
    "A happy family is 👩‍👩‍👧 and",
    "a\tb\r\n\tc\r\n",
    "class Stack:\n    def __init__(self):\n",
]


def run(ensemble: Ensemble, prompt: str, **how: Any) -> tuple[list[StepTrace], FinishedEvent]:
    alone = how.pop("alone", None)
    settings = ensemble.config.settings_from({"max_new_tokens": 24, **how})
    *tokens, finished = ensemble.generate(prompt, settings, alone=alone, raw=True)
    assert isinstance(finished, FinishedEvent)
    return [event.step for event in tokens if isinstance(event, TokenEvent)], finished


@pytest.mark.parametrize(("prompt", "alignment"), zip(SCRIPTS, cycle(["prefix", "paper"]), strict=False))
def test_every_context_holds_the_shown_bytes_after_every_step(quantised: Ensemble, prompt: str, alignment: str) -> None:
    settings = quantised.config.settings_from({"max_new_tokens": 24, "mode": "every-step", "alignment": alignment})
    session = quantised.session(prompt, settings, raw=True)
    for context in session.contexts.values():
        prompt_bytes = context.member.mapping.vocabulary.decode([*context.reads.sequence.prompt])
        assert prompt_bytes == prompt.encode()
    written, shown = b"", ""
    for event in session.events():
        shown += event.text if isinstance(event, TokenEvent) else ""
        if isinstance(event, TokenEvent):
            written += event.step.token
            assert {context.text.written for context in session.contexts.values()} == {written}
        else:
            assert event.text == shown == written.decode("utf-8", "replace")


def test_a_member_that_comes_back_knows_the_indentation(quantised: Ensemble) -> None:
    """SmolLM2, the gate, writes seven spaces and a word that begins with one; Gemma eight spaces and a word."""
    _, finished = run(quantised, "def f(x):\n    if x:\n", mode="gate", threshold=0.5, alignment="prefix")
    assert re.match(r" {8}\w", finished.text)
