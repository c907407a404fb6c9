"""Drafting leaves real answers as they are: every token in float32, up to a near-tie in 8-bit arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, StepTrace, TokenEvent

PROMPTS = ["The capital of France is", "def fibonacci(n):\n", "Привет! Меня зовут", "A happy family is 👩‍👩‍👧 and"]
HOW = [{"mode": "every-step"}, {"mode": "gate", "threshold": 0.5}]
FLOAT32_HOW = [{**HOW[0], "alignment": "prefix"}, {**HOW[1], "alignment": "paper"}]  # two prompts each: a step is slow
# Chunks differ from single steps by up to 0.12 in total variation, and what differs moves both of two best tokens.
NEAR_TIE = 0.24


def run(ensemble: Ensemble, prompt: str, speculation: str, **how: Any) -> tuple[list[StepTrace], str]:
    changes = {"max_new_tokens": 20, "alignment": "paper", "temperature": 0, **how, "speculation": speculation}
    *tokens, finished = ensemble.generate(prompt, ensemble.config.settings_from(changes), raw=True)
    assert isinstance(finished, FinishedEvent)
    return [event.step for event in tokens if isinstance(event, TokenEvent)], finished.text


@pytest.mark.parametrize(
    ("how", "prompt"),
    [(how, prompt) for how, prompts in zip(FLOAT32_HOW, (PROMPTS[:2], PROMPTS[2:]), strict=True) for prompt in prompts],
)
def test_float32_gives_every_token(float32: Ensemble, prompt: str, how: dict[str, Any]) -> None:
    how = {**how, "max_new_tokens": 8}
    plain, plain_text = run(float32, prompt, "off", **how)
    steps, text = run(float32, prompt, "on", **how)
    assert [step.token for step in steps] == [step.token for step in plain]
    assert text == plain_text
    assert [step.spellings for step in steps] == [step.spellings for step in plain]
    assert [step.prob for step in steps] == pytest.approx([step.prob for step in plain], abs=1e-3)


@pytest.mark.parametrize(("prompt", "how"), zip(PROMPTS, HOW * 2, strict=True))
def test_quantised_differs_at_near_ties_only(quantised: Ensemble, prompt: str, how: dict[str, Any]) -> None:
    plain, _ = run(quantised, prompt, "off", **how)
    steps, _ = run(quantised, prompt, "on", **how)
    for step, other in zip(plain, steps, strict=False):
        if step.is_ensembled != other.is_ensembled:
            assert step.gate_confidence == pytest.approx(how["threshold"], abs=NEAR_TIE / 2)
            return
        if step.token != other.token:
            assert step.top[0].prob - step.top[1].prob < NEAR_TIE
            return
    assert len(plain) == len(steps)
