from __future__ import annotations

from typing import Any

import pytest

from gac_app.config import Settings
from gac_app.ui.wording import settings_in_words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "gate Small · others asked below 50% · equal weights · prefix alignment · greedy · up to 256 tokens"),
        ({"alignment": "paper"}, "paper alignment"),
        ({"gate_policy": "eager"}, "others asked below 50% · reading along · equal"),
        ({"gate_policy": "eager", "mode": "every-step"}, "every step combined · equal"),  # nobody is idle then
        (
            {"mode": "agreement", "alignment": "unite"},
            "while the others agree · equal weights · unite alignment of the top 10",
        ),
        ({"weights": "posterior"}, "posterior weights ·"),
        ({"weights": "posterior", "posterior_decay": 0.9}, "posterior weights, memory 0.9"),
        ({"weights": {"Small": 3, "Large": 1}}, "own weights (Small 3, Large 1)"),
        ({"temperature": 0.7, "min_p": 0.05, "seed": 3}, "temperature 0.7 · min-p 0.05 · seed 3"),
        ({"min_p": 0.05, "seed": 3}, "greedy · up to"),  # without a temperature they change nothing
        ({"stop": ("a",)}, "1 stop string"),
        ({"stop": ("a", "b"), "system_prompt": "Be brief."}, "2 stop strings · system prompt"),
        ({"repetition_penalty": 1.2}, "repetition penalty 1.2"),
    ],
)
def test_settings_are_said_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in settings_in_words(Settings(gate="Small", **changes))
