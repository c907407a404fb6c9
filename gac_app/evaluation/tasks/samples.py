"""The questions that come with the package."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "samples"
_TASKS = {"trivia": "triviaqa", "sense": "arc_challenge", "sums": "gsm8k"}  # file -> the task it follows

SAMPLES = {name: (task, _FOLDER / f"{name}.jsonl") for name, task in _TASKS.items()}  # name -> task, file
