"""Votes in formats for trainers of preference models, arenas and tables.

Trainers' formats leave out votes that do not count; the others have a column `flags`, which is empty if a vote counts.
Everything is a function of `Judged`. The whole record, as JSON Lines, is written by `services.mirror.exports`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from gac_app.arena.outcomes import SIDES, Outcome
from gac_app.errors import GacError
from gac_app.validation import harmless

if TYPE_CHECKING:  # it loads the database, which a command's options need not wait for
    from gac_app.services.exports.judged import Judged

Row = dict[str, Any]


class Format(StrEnum):
    """A format of vote exports."""

    JSONL = "jsonl"  # everything; can be imported
    TRL_PREFERENCE = "trl-preference"
    TRL_UNPAIRED = "trl-unpaired"
    LMSYS = "lmsys"
    ARENA_RANK = "arena-rank"
    PARQUET = "parquet"
    CSV = "csv"

    @property
    def suffix(self) -> str:
        """The file name's suffix."""
        return {Format.CSV: "csv", Format.PARQUET: "parquet", Format.LMSYS: "json"}.get(self, "jsonl")


def _counting(votes: Iterable[Judged]) -> Iterator[Judged]:
    return (vote for vote in votes if not vote.flags)


def trl_preference(votes: Iterable[Judged]) -> Iterator[Row]:
    """TRL's conversational preference type with explicit prompts; decided votes only."""
    for vote in _counting(votes):
        if winner := vote.winner:
            loser = SIDES[1 - SIDES.index(winner)]
            yield {"prompt": vote.first_prompt, "chosen": vote.completion(winner), "rejected": vote.completion(loser)}


def trl_unpaired(votes: Iterable[Judged]) -> Iterator[Row]:
    """TRL's conversational unpaired type: the winner is good, the loser is not. Of a tie, both or neither are."""
    for vote in _counting(votes):
        for side in SIDES:
            is_good = vote.winner == side if vote.winner else vote.outcome is Outcome.TIE
            yield {"prompt": vote.first_prompt, "completion": vote.completion(side), "label": is_good}


def lmsys(votes: Iterable[Judged]) -> Iterator[Row]:
    """The format of `lmsys/chatbot_arena_conversations`."""
    winners = {"left": "model_a", "right": "model_b", "tie": "tie", "both-bad": "tie (bothbad)"}
    for vote in votes:
        yield {
            "question_id": vote.record.battle_id,
            "model_a": vote.record.left,
            "model_b": vote.record.right,
            "winner": winners[vote.outcome],
            "judge": vote.record.visitor,
            "conversation_a": vote.conversation("left"),
            "conversation_b": vote.conversation("right"),
            "turn": vote.facts.get("turn", 1),
            "anony": vote.record.is_blind,
            "language": vote.record.language,
            "tstamp": datetime.fromisoformat(vote.voted_at).timestamp(),
            "flags": " ".join(vote.flags),
        }


def arena_rank(votes: Iterable[Judged]) -> Iterator[Row]:
    """The columns of `arena-rank`, with the session to cluster by."""
    winners = {"left": "model_a", "right": "model_b", "tie": "tie", "both-bad": "both_bad"}
    for vote in votes:
        yield {
            "model_a": vote.record.left,
            "model_b": vote.record.right,
            "winner": winners[vote.outcome],
            "evaluation_session_id": vote.record.visitor,
            "language": vote.record.language,
            "is_blind": vote.record.is_blind,
            "timestamp": vote.voted_at,
            "flags": " ".join(vote.flags),
        }


def flat(votes: Iterable[Judged]) -> Iterator[Row]:
    """One row per vote; cells are texts, numbers or booleans. Texts are the shown part of the last turn."""
    for vote in votes:
        record, facts = vote.record, vote.facts
        sides = {f"{side}_{name}": value for side in SIDES for name, value in facts.get(side, {}).items()}
        yield {
            "battle_id": record.battle_id,
            "visitor": record.visitor,
            "voted_at": vote.voted_at,
            "origin": record.origin,
            "is_blind": record.is_blind,
            "left": record.left,
            "right": record.right,
            "outcome": vote.outcome.value,
            "turn": facts.get("turn", 1),
            "early": facts.get("early", False),
            "stopped": facts.get("stopped", False),
            "seconds": facts.get("seconds"),
            "language": record.language,
            "config_hash": record.config_hash,
            "flags": " ".join(vote.flags),
            "prompt": vote.last_prompt,
            **{f"{side}_text": vote.completion(side)[-1]["content"] for side in SIDES},
            **{f"{side}_reasons": " ".join(vote.reasons.get(side, [])) for side in SIDES},
            "comment": vote.comment,
            **sides,
        }


_ROWS: dict[Format, Callable[[Iterable[Judged]], Iterator[Row]]] = {
    Format.TRL_PREFERENCE: trl_preference,
    Format.TRL_UNPAIRED: trl_unpaired,
    Format.LMSYS: lmsys,
    Format.ARENA_RANK: arena_rank,
    Format.PARQUET: flat,
    Format.CSV: flat,
}


def parts(votes: Iterable[Judged], wanted: Format) -> Iterator[bytes]:
    """A file of any format but `JSONL`: formats of lines give one at a time, the others need all votes first. Raises
    GacError if a package for it is missing.
    """
    rows = _ROWS[wanted](votes)
    if wanted is Format.CSV:
        yield _csv(list(rows)).encode()
    elif wanted is Format.PARQUET:
        yield _parquet(list(rows))
    elif wanted is Format.LMSYS:
        yield json.dumps(list(rows), ensure_ascii=False, indent=1).encode()
    else:
        yield from (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _csv(rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, _columns(rows), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: harmless(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    return out.getvalue()


def _columns(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _parquet(rows: list[Row]) -> bytes:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise GacError("Parquet needs the package pyarrow: pip install pyarrow") from None
    out = io.BytesIO()
    columns = {name: [row.get(name) for row in rows] for name in _columns(rows)}
    parquet.write_table(pa.table(columns), out)
    return out.getvalue()
