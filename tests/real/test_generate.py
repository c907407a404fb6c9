"""Every context holds the same bytes."""

from __future__ import annotations

import re
from itertools import cycle

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, TokenEvent

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
    settings = quantised.config.settings_from({"max_new_tokens": 24, "mode": "gate", "threshold": 0.5})
    *_, finished = quantised.generate("def f(x):\n    if x:\n", settings, raw=True)
    assert isinstance(finished, FinishedEvent)
    assert re.match(r" {8}\w", finished.text)
