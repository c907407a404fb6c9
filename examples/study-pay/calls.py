"""Where in long answers does the gate call, and what does a call change?

    PYTHONPATH=. python examples/study-pay/calls.py gsm8k.jsonl 40

asks the task's first questions with the chosen setting and counts, by the kind of the token: how many of the tokens, of
the calls, of the changed tokens; the calls by the part of the answer; and how long runs without a call are.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from statistics import quantiles

import gac_app
from gac_app.decoding.trace import is_changed
from gac_app.evaluation.tasks import asked

HERE = Path(__file__).parent
PARTS = 5


def kind(text: str) -> str:
    """A token's: of what stands in it."""
    if "\n" in text:
        return "line end"
    if any(character.isdigit() for character in text):
        return "number"
    return "word" if any(character.isalpha() for character in text) else "sign"


def main(data: Path, num_questions: int) -> None:
    task, questions = asked(str(HERE / "gsm8k-long.yaml"), data)
    tokens, calls, changed, parts = Counter[str](), Counter[str](), Counter[str](), Counter[int]()
    runs: list[int] = []
    with gac_app.load(HERE.parents[1] / "configs" / "cpu-pay.yaml", max_new_tokens=task.max_new_tokens) as gac:
        for question in questions[:num_questions]:
            steps = [event.step for event in gac.stream(task.prompt(question), raw=task.is_raw, stop=task.stop)]
            last = -1
            for place, step in enumerate(steps):
                which = kind(step.token.decode(errors="replace"))
                tokens[which] += 1
                if step.is_ensembled:
                    calls[which] += 1
                    parts[PARTS * place // len(steps)] += 1
                    changed[which] += is_changed(step)
                    runs.append(place - last - 1)
                    last = place
            runs.append(len(steps) - last - 1)
    print("| token | tokens | calls | changed |\n|---|---|---|---|")
    for which, count in tokens.most_common():
        print(f"| {which} | {count} | {calls[which]} ({calls[which] / count:.0%}) | {changed[which]} |")
    shares = ", ".join(f"{parts[part] / max(calls.total(), 1):.0%}" for part in range(PARTS))
    middle, most = quantiles(runs, n=10)[4], quantiles(runs, n=10)[8]
    print(f"\nCalls by fifths of the answer: {shares}.")
    print(f"Tokens between calls: median {middle:.0f}, a tenth more than {most:.0f}, at most {max(runs)}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
