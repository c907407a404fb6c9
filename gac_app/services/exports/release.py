"""Votes for publication: a file of rows and a data card, from which nobody finds a visitor in another file."""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gac_app.services.exports.formats import lmsys
from gac_app.services.exports.judged import Judged

FILE, CARD = "votes.jsonl", "README.md"
NO_CONSENT, FLAGGED, EQUAL = "no consent to publication", "flagged", "both answers equal"
COLUMNS = {
    "question_id": "a random id, new in each release",
    "model_a, model_b": "the contestants on the left and on the right; their names were hidden until the vote stood",
    "winner": "`model_a`, `model_b`, `tie` or `tie (bothbad)`",
    "judge": "a random name of the visitor, new in each release",
    "conversation_a, conversation_b": "system prompt, prompts and answers, as far as they were shown at the vote",
    "turn": "the turn that was judged",
    "anony": "whether the names were hidden; always true here",
    "language": "of the first prompt, guessed; `und` = unknown",
    "tstamp": "the day of the vote, in UTC: its first second since 1970",
    "flags": "why the vote is suspicious; empty unless flagged votes were asked for",
}


@dataclass(slots=True)
class Release:
    """The rows of a release, shuffled, and what was left out.

    Attributes:
        left_out: number of votes by reason.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """The file's lines."""
        return (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows)


def release_of(
    votes: Iterable[Judged], *, has_unconsented: bool = False, has_flagged: bool = False, has_equal: bool = False
) -> Release:
    """The release of some votes."""
    allowed = {NO_CONSENT: has_unconsented, FLAGGED: has_flagged, EQUAL: has_equal}
    found, names = Release(), dict[str, str]()
    for vote in votes:
        if why := next((reason for reason in _against(vote) if not allowed[reason]), ""):
            found.left_out[why] += 1
            continue
        (row,) = lmsys([vote])
        day = datetime.fromisoformat(vote.voted_at).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        judge = names.setdefault(row["judge"], uuid.uuid4().hex)
        found.rows.append({**row, "question_id": uuid.uuid4().hex, "judge": judge, "tstamp": day.timestamp()})
    random.SystemRandom().shuffle(found.rows)  # the order of votes would tell which are one visitor's
    return found


def _against(vote: Judged) -> Iterator[str]:
    """Reasons to leave a vote out."""
    if not vote.record.body.get("consent"):
        yield NO_CONSENT
    if vote.flags:
        yield FLAGGED
    if vote.completion("left") == vote.completion("right"):
        yield EQUAL


def card_of(release: Release) -> str:
    """The data card, Markdown with the head that the Hugging Face Hub reads."""
    days = sorted(datetime.fromtimestamp(row["tstamp"], UTC).date().isoformat() for row in release.rows)
    sides = Counter(name for row in release.rows for name in (row["model_a"], row["model_b"]))
    parts = [
        "---",
        "configs:",
        f"- {{config_name: default, data_files: {FILE}}}",
        "task_categories: [text-generation]",
        "tags: [preference, arena]",
        "---",
        "",
        "# Blind votes of an arena",
        "",
        "People compared two anonymous answers to their own prompts and voted; then they were told the names. "
        "Written by `gac release`.",
        "",
        "Prompts are visitors' own words: read them before you publish them, and choose a license.",
        "",
        f"{len(release.rows):,} votes of {len({row['judge'] for row in release.rows}):,} visitors"
        + (f", {days[0]} to {days[-1]}." if days else "."),
        "",
        *_table("contestant", sides),
        *_table("language", Counter(row["language"] for row in release.rows)),
        *_table("outcome", Counter(row["winner"] for row in release.rows)),
        *_table("left out", release.left_out),
        "| column | meaning |",
        "|---|---|",
        *(f"| {', '.join(f'`{one}`' for one in name.split(', '))} | {meaning} |" for name, meaning in COLUMNS.items()),
        "",
        "Visitors are not a sample of anybody, and one visitor's votes are not independent: weigh or resample by "
        "`judge`.",
    ]
    return "\n".join(parts) + "\n"


def _table(what: str, counts: Counter[str]) -> list[str]:
    cells = [(name.replace("|", "\\|").replace("\n", " "), num) for name, num in counts.most_common()]
    rows = [f"| {name} | {num:,} |" for name, num in cells]
    return [f"| {what} | votes |", "|---|---|", *rows, ""] if rows else []
