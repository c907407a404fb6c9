"""How often the likeliest tokens prove a step's choice: `python -m tests.decided_at_k [--questions FILE]`.

Loads the members of a configuration here (the default pair), lets each tell its 64 likeliest tokens, as an inference
server would, and counts what the steps needed: these, some single tokens, 1,024, or all.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from gac_app.decoding.distribution.told_distribution import MORE
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace import TokenEvent
from gac_app.loading import load_ensemble
from gac_app.models.message import Message
from tests.told_member import Teller, ToldMember

NUM_TOLD, MOST_WANTED = 64, 2048
ANSWERS = ["at 64", "with single tokens", "at 1,024", "with all"]
CODE = [
    "def fibonacci(n):\n",
    '{\n  "name": "side-by-side",\n  "version": "1.0.0",\n  "dependencies": {\n',
    'version: "3.9"\nservices:\n  web:\n    image: nginx:latest\n    ports:\n',
    "# How to bake bread\n\n## Ingredients\n\n- 500 g of flour\n- 350 ml of water\n",
]
LANGUAGES = [
    "La capitale de la France est", "Столица России —", "Η πρωτεύουσα της Ελλάδας είναι", "عاصمة مصر هي",
    "בירת ישראל היא", "भारत की राजधानी", "เมืองหลวงของประเทศไทยคือ", "中国的首都是", "日本の首都は", "대한민국의 수도는",
]  # fmt: skip
WAYS = {
    "greedy": {},
    "gate, greedy": {"mode": "gate"},
    "temperature 1": {"temperature": 1.0},
    "temperature 0.7, top-p 0.9": {"temperature": 0.7, "top_p": 0.9},
}


def questions(file: Path | None) -> Iterator[tuple[str, str]]:
    """(kind, prompt)."""
    for line in islice(file.open(encoding="utf-8"), 3) if file else ():
        yield "questions", json.loads(line)["question"]
    yield from (("code", prompt) for prompt in CODE)
    yield from (("languages", prompt) for prompt in LANGUAGES)


def how_told(members: list[ToldMember]) -> str:
    """What the last step needed at most."""
    asked = [num for member in members for num in member.teller.asked]
    for member in members:
        member.teller.asked.clear()
    return ANSWERS[3 if max(asked, default=0) > MORE else 2 if MORE in asked else 1 if min(asked, default=0) < 0 else 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--questions", type=Path, help="JSON lines with a `question`, such as GSM8K's")
    parser.add_argument("--tokens", type=int, default=24)
    asked = parser.parse_args()
    near = load_ensemble(asked.config)
    told = [ToldMember(m.model, m.mapping, NUM_TOLD, Teller(most_wanted=MOST_WANTED)) for m in near.members.values()]
    ensemble = Ensemble(told, near.config)
    for way, how in WAYS.items():
        counts: dict[str, Counter[str]] = {}
        for kind, prompt in questions(asked.questions):
            settings = near.config.settings_from({"mode": "every-step", "max_new_tokens": asked.tokens, **how})
            chat = [Message("user", prompt)] if kind == "questions" else prompt
            for event in ensemble.generate(chat, settings, raw=kind != "questions"):
                if isinstance(event, TokenEvent):
                    counts.setdefault(kind, Counter())[how_told(told)] += 1
        total = sum(counts.values(), Counter())
        for kind, count in [*counts.items(), ("together", total)]:
            shares = ", ".join(f"{count[answer] / count.total():.1%} {answer}" for answer in ANSWERS)
            print(f"{way:28} {kind:10} {count.total():5} steps: {shares}", flush=True)


if __name__ == "__main__":
    main()
