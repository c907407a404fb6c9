"""Votes that a test plants into a database, as if visitors had given them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from gac_app.storage import NewBattle, NewJudgement, Store
from gac_app.storage.battles import changes

STRENGTHS = {"zyxone": 0.0, "zyxtwo": 0.8, "zyxthree": 1.2, "zyxfour": 1.4}
PASSES = {"zyxone": 1.0, "zyxtwo": 1.0, "zyxthree": 2.0, "zyxfour": 1.3}


def plant_vote(
    store: Store,
    left: str,
    right: str,
    outcome: str,
    key: str = "c" * 64,
    *,
    flags: Sequence[str] = (),
    passes: bool = True,
    **battle: Any,
) -> None:
    """A blind vote that stands for good, with the facts that one has; `passes`: forward passes are known."""
    names, facts = {"left": left, "right": right}, dict[str, Any]({"turn": 1, "flags": list(flags)})
    for side, name in names.items():
        cost = {"ms_per_token": 12 * PASSES.get(name, 1.0), "passes_per_token": PASSES.get(name, 1.0)}
        if not passes:
            del cost["passes_per_token"]
        facts[side] = {"chars": 300, "headings": 0, "lists": 1, "bold": 0, **cost}
    answer = {"messages": [], "text": "Yes.", "num_tokens": 2, "num_forwards": 2, "seconds": 0.1}
    sides = {side: {"contestant": name, "member": None, "settings": {}} for side, name in names.items()}
    body = {"sides": sides, "turns": [{"prompt": "Yes?", "left": answer, "right": answer}], "consent": True}
    known = {"battle_id": uuid.uuid4().hex, "visitor_key": key, **names, "origin": "people", "is_blind": True}
    new = NewBattle(**{**known, "language": "en", "status": "answered", "body": body, **battle})
    row = NewJudgement(kind="vote", outcome=outcome, facts=facts)

    def write(session: Session) -> None:
        changes.start(session, new)
        changes.judge(session, key, new.battle_id, row)

    store.write(write).result()


def plant_votes(store: Store, num: int, names: Sequence[str] = tuple(STRENGTHS), **battle: Any) -> None:
    """Votes of several visitors about contestants of known strengths."""
    rng = random.Random(2)
    for number in range(num):
        left, right = rng.sample(list(names), 2)
        wins = rng.random() < 1 / (1 + 2.718 ** (STRENGTHS.get(right, 0.0) - STRENGTHS.get(left, 0.0)))
        outcome = rng.choice(("tie", "both-bad")) if number % 7 == 0 else "left" if wins else "right"
        plant_vote(store, left, right, outcome, f"{number % 9:x}" * 64, **battle)
