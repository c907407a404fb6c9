"""What is published, and that nothing in it leads to a visitor."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gac_app.services.exports.release import EQUAL, FLAGGED, NO_CONSENT, card_of, release_of
from gac_app.storage import Store, StoredBattle
from tests.command_line import run_command
from tests.services.exports.test_formats import battle, votes


def agreed(outcome: str = "left", *, consent: bool = True, equal: bool = False, **changes: Any) -> StoredBattle:
    one = battle(outcome, **changes)
    turns = [{**turn, "right": turn["left"]} for turn in one.body["turns"]] if equal else one.body["turns"]
    return replace(one, body={**one.body, "turns": turns, "consent": consent})


ALL = (agreed(), agreed("tie"), agreed(consent=False), agreed(flags=("fast", "burst")), agreed(equal=True))


def test_agreed_unflagged_and_different_only() -> None:
    found = release_of(votes(*ALL))
    assert len(found.rows) == 2
    assert found.left_out == {NO_CONSENT: 1, FLAGGED: 1, EQUAL: 1}
    assert {row["flags"] for row in found.rows} == {""}


@pytest.mark.parametrize("asked", ["has_unconsented", "has_flagged", "has_equal"])
def test_more_only_if_asked(asked: str) -> None:
    found = release_of(votes(*ALL), **{asked: True})
    assert len(found.rows) == 3
    assert ("fast burst" in {row["flags"] for row in found.rows}) == (asked == "has_flagged")


def test_names_are_drawn_anew_and_days_are_all_of_the_time() -> None:
    many = votes(agreed(visitor="first"), agreed("tie", visitor="first"), agreed("right", visitor="second"))
    first, second = release_of(many), release_of(many)
    text = "".join(first.lines())
    assert not any(known in text for known in ('"first"', '"second"', *(vote.record.battle_id for vote in many)))
    by_winner = [{row["winner"]: row for row in found.rows} for found in (first, second)]
    judges = [[rows[winner]["judge"] for winner in ("model_a", "tie", "model_b")] for rows in by_winner]
    assert [judge[0] == judge[1] != judge[2] for judge in judges] == [True, True]
    assert not set(judges[0]) & set(judges[1])
    assert {row["tstamp"] for row in first.rows} == {1767225600.0}  # 2026-01-01, midnight
    ids = [{row["question_id"] for row in found.rows} for found in (first, second)]
    assert len(ids[0]) == 3
    assert not ids[0] & ids[1]


def test_rows_do_not_come_in_the_order_of_votes() -> None:
    found = release_of(votes(*(agreed(visitor=f"{number}", left=f"c{number}") for number in range(40))))
    assert [row["model_a"] for row in found.rows] != [f"c{number}" for number in range(40)]


def test_the_card_counts_what_is_there_and_what_is_not() -> None:
    card = card_of(release_of(votes(*ALL)))
    assert "2 votes of 1 visitors, 2026-01-01 to 2026-01-01." in card
    for row in ("| Smol | 2 |", "| en | 2 |", f"| {FLAGGED} | 1 |", f"| {NO_CONSENT} | 1 |", "| `judge` |"):
        assert row in card
    assert "0 votes of 0 visitors." in card_of(release_of([]))


def test_the_command_writes_votes_and_card(other: Store, tmp_path: Path) -> None:
    for at, one in enumerate(ALL):
        rows = tuple({**row, "id": f"{at:032}"} for row in one.judgements)
        other.import_records([], [replace(one, battle_id=f"{at:032}", judgements=rows)]).result()
    out, url = tmp_path / "out", str(other.engine.url)
    done = run_command("release", str(out), GAC_DATABASE_URL=url)
    assert (done.returncode, "2 votes" in done.stdout) == (0, True), done.stderr
    released = [json.loads(line) for line in (out / "votes.jsonl").read_text().splitlines()]
    assert {row["winner"] for row in released} == {"model_a", "tie"}
    assert (out / "README.md").read_text().startswith("---\n")
    assert run_command("release", str(out), GAC_DATABASE_URL=url).returncode == 2
