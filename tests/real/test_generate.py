"""A member alone is the library's own `generate`; every context holds the same bytes."""

from __future__ import annotations

import re
from itertools import cycle
from typing import Any

import pytest
import torch

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.loop.threads import on_one_torch_thread
from gac_app.decoding.trace.events import FinishedEvent, StepTrace, TokenEvent

NEAR_TIE = 0.01  # between the two best tokens, below which float32 sums in another order may decide otherwise
PROMPTS = ["The capital of France is", "def fibonacci(n):\n"]
MEMBERS = ["SmolLM2-135M-Instruct", "Gemma-3-270M"]
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


def library_ids(ensemble: Ensemble, name: str, prompt: str, num_tokens: int) -> list[int]:
    """What transformers' own greedy `generate` answers, with control tokens suppressed."""
    model = ensemble.members[name].model
    vocabulary = model.vocabulary
    control = [i for i, token in enumerate(vocabulary.token_bytes) if token is None and i not in vocabulary.end_ids]
    ids = torch.tensor([model.encode_raw(prompt)])
    generate = on_one_torch_thread(model._model.generate)  # a second one would wait for a busy core, at every product
    answered = generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=num_tokens,
        do_sample=False,
        suppress_tokens=control,
        eos_token_id=sorted(vocabulary.end_ids),
    )
    found: list[int] = answered[0, ids.shape[1] :].tolist()
    return found


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("name", MEMBERS)
def test_alone_is_the_librarys_own_generate(float32: Ensemble, name: str, prompt: str) -> None:
    steps, _ = run(float32, prompt, alone=name, max_new_tokens=8)
    vocabulary = float32.members[name].mapping.vocabulary
    ids = library_ids(float32, name, prompt, 8)
    expected = [b"" if i in vocabulary.end_ids else vocabulary.token_bytes[i] for i in ids]
    assert len(steps) == len(expected)
    for step, token in zip(steps, expected, strict=True):
        if step.token != token:
            assert step.top[0].prob - step.top[1].prob < NEAR_TIE
            break


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
