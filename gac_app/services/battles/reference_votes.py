"""Votes by reference: the known answers of a task judge contestants, so that a new arena has something to show. They
are never mixed with people's votes. A question counts as one session, because its votes are not independent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import Origin, Outcome
from gac_app.arena.rating.style import style_of
from gac_app.evaluation.running import Graded
from gac_app.evaluation.tasks import Question, Task
from gac_app.services.battles.records import side_record
from gac_app.storage import ANSWERED, Kind, StoredBattle


def reference_outcome(left: Graded, right: Graded) -> Outcome:
    """Right beats wrong; two right answers tie; two wrong ones are both bad."""
    if left.is_right == right.is_right:
        return Outcome.TIE if left.is_right else Outcome.BOTH_BAD
    return Outcome.LEFT if left.is_right else Outcome.RIGHT


def reference_battles(
    task: Task, question: Question, answers: Mapping[str, Graded], contestants: Sequence[Contestant], config_hash: str
) -> list[StoredBattle]:
    """The battles of all pairs on one question, with their votes, as exported. Failed answers give no battle.

    Args:
        answers: by contestant.
    """
    prompt = task.prompt(question)
    by_name = {one.name: one for one in contestants}
    found = []
    for names in combinations(by_name, 2):
        about = f"{task.name}\n{question.id}\n{prompt}\n{config_hash}"
        digest = hashlib.blake2b("\n".join([about, *names]).encode(), digest_size=16).hexdigest()
        # Each is on the left in half of the battles, the same half every time.
        sides = dict(zip(("left", "right"), names if int(digest[0], 16) % 2 else names[::-1], strict=True))
        given = {side: answers[name] for side, name in sides.items()}
        if any(one.error for one in given.values()):
            continue
        turn = {"prompt": prompt, **{side: _record(prompt, one) for side, one in given.items()}}
        who = {side: side_record(by_name[name]) for side, name in sides.items()}
        facts = {"turn": 1, "early": False, "flags": [], **{side: _facts(one) for side, one in given.items()}}
        now = datetime.now(UTC).isoformat()
        vote = {"id": digest, "position": 0, "kind": Kind.VOTE, "outcome": reference_outcome(**given), "facts": facts}
        found.append(
            StoredBattle(
                battle_id=digest,
                visitor=hashlib.sha256(about.encode()).hexdigest()[:32],
                origin=Origin.REFERENCE,
                is_blind=False,
                **sides,
                config_hash=config_hash,
                status=ANSWERED,
                created_at=now,
                body={"sides": who, "turns": [turn], "versions": {}, "consent": True, "task": task.name},
                judgements=({**vote, "body": None, "created_at": now},),
            )
        )
    return found


def _record(prompt: str, answer: Graded) -> dict[str, object]:
    fed = [{"role": "user", "content": prompt}]
    return {
        "messages": fed,
        "text": answer.text or answer.prediction,
        "num_tokens": answer.num_tokens,
        "seconds": answer.seconds,
    }


def _facts(answer: Graded) -> dict[str, float]:
    ms = {"ms_per_token": round(1000 * answer.seconds / answer.num_tokens, 3)} if answer.num_tokens else {}
    return {**style_of(answer.text or answer.prediction), **ms}
