"""What is published, and that nothing in it leads to a visitor."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.services.exports.release import EQUAL, FLAGGED, NO_CONSENT, card_of, release_of
from gac_app.storage import StoredBattle
from tests.databases import database_in
from tests.services.exports.test_formats import battle, votes


def agreed(
    outcome: str = "left",
    *,
    consent: bool = True,
    flags: tuple[str, ...] = (),
    equal: bool = False,
    **changes: Any,
) -> StoredBattle:
    one = battle(outcome)
    vote = {**one.judgements[0], "facts": {**one.judgements[0]["facts"], "flags": list(flags)}}
    turns = [{**turn, "right": turn["left"]} for turn in one.body["turns"]] if equal else one.body["turns"]
    return battle(outcome, **changes, body={**one.body, "turns": turns, "consent": consent}, judgements=(vote,))


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


def test_the_command_writes_votes_and_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAC_DATABASE_URL", database_in(tmp_path / "gac.db"))
    lines = tmp_path / "lines.jsonl"
    kept = [
        {**{part.name: getattr(one, part.name) for part in fields(one)}, "battle_id": f"{at:032}"}
        for at, one in enumerate(ALL)
    ]
    for at, one in enumerate(kept):
        one["judgements"] = [{**row, "id": f"{at:032}"} for row in one["judgements"]]
    lines.write_text("".join(json.dumps(one) + "\n" for one in kept))
    runner = CliRunner()
    assert runner.invoke(app, ["import", str(lines)], catch_exceptions=False).exit_code == 0
    done = runner.invoke(app, ["release", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 votes" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "out" / "votes.jsonl").read_text().splitlines()]
    assert {row["winner"] for row in rows} == {"model_a", "tie"}
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\n")
    again = runner.invoke(app, ["release", str(tmp_path / "out")])
    assert again.exit_code == 2
