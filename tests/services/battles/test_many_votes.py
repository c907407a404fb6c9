"""Many votes come in fast, are rated fast, and only what has changed is read again."""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gac_app.arena.rating.votes import VoteFilter
from gac_app.services.battles.standings import Standings
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import ImportResult, import_files
from gac_app.settings import Settings
from gac_app.storage import Store
from tests.databases import database_in
from tests.services.house import ALICE
from tests.ui.planted_votes import plant_vote

NAMES = [f"contestant {number}" for number in range(12)]
NUM_VISITORS = 5_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FILTERS: dict[str, tuple[VoteFilter, dict[str, Any]]] = {
    "one language": (VoteFilter(language="en"), {}),
    "long answers": (VoteFilter(min_chars=1_000), {}),
    "half the time": (VoteFilter(since=BEGIN + timedelta(days=1)), {}),
    "style control": (VoteFilter(), {"controls_style": True}),
}


def write_lines(path: Path, num: int) -> None:
    """Battles as `export` writes them, each with a vote."""
    rng = random.Random(1)
    settings = Settings().model_dump(mode="json")
    visitors = [f"{rng.getrandbits(128):032x}" for _ in range(NUM_VISITORS)]
    with path.open("w") as file:
        for number in range(num):
            names = dict(zip(("left", "right"), rng.sample(NAMES, 2), strict=True))
            at = (BEGIN + timedelta(seconds=2 * number)).isoformat()
            answers, facts = {}, {}
            for side in names:
                text = "An answer. " * rng.randrange(5, 60)
                messages = [{"role": "user", "content": f"Question {number}?"}]
                counts = {"num_tokens": 90, "num_ensembled": 30, "num_forwards": 120, "seconds": 4.5}
                answers[side] = {"messages": messages, "text": text, "finish_reason": "stop", **counts}
                style = {"headings": rng.randrange(2), "lists": rng.randrange(9), "bold": rng.randrange(3)}
                cost = {"ms_per_token": rng.uniform(10, 50), "passes_per_token": rng.uniform(1, 3)}
                facts[side] = {"chars": len(text), **style, **cost}
            vote = {
                "id": f"{rng.getrandbits(128):032x}",
                "position": 0,
                "kind": "vote",
                "outcome": rng.choice(("left", "right", "tie", "both-bad")),
                "facts": {"turn": 1, "early": False, "seconds": 9.5, "flags": [], **facts},
                "body": None,
                "created_at": at,
            }
            sides = {side: {"contestant": name, "member": None, "settings": settings} for side, name in names.items()}
            line = {
                "battle_id": f"{rng.getrandbits(128):032x}",
                "visitor": rng.choice(visitors),
                "run_id": None,
                "origin": "people",
                "is_blind": True,
                **names,
                "language": rng.choice(("en", "de")),
                "config_hash": "c0ffee",
                "status": "answered",
                "created_at": at,
                "body": {"sides": sides, "turns": [{"prompt": f"Question {number}?", **answers}], "consent": True},
                "judgements": [vote],
            }
            file.write(json.dumps(line) + "\n")


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    started, used = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - started, time.process_time() - used


def measure(folder: Path, num: int) -> dict[str, float]:
    """Processor seconds of everything that is done with so many votes; printed with the clock's."""
    write_lines(folder / "votes.jsonl", num)
    store = Store(database_in(folder / "many.db"))
    standings = Standings(store, NAMES, 20)
    used = {}

    def take(name: str, what: Callable[[], object]) -> None:
        clock_s, used[name] = timed(what)
        print(f"{name:32} {clock_s:8.3f} s {used[name]:8.3f} s of the processor")

    def import_all() -> None:
        assert import_files(Exports(store), [folder / "votes.jsonl"]) == ImportResult(num, 0, 0, 0)

    print(f"\n{num:,} votes")
    gc.freeze()  # as `import` and the start of a server do
    take("import", import_all)
    print(f"{num / used['import']:,.0f} votes imported per second of the processor")
    take("first view", lambda: standings.leaderboard(ALICE))
    for name, (wanted, options) in FILTERS.items():
        take(name, lambda wanted=wanted, options=options: standings.leaderboard(ALICE, wanted, **options))  # type: ignore[misc]
    plant_vote(store, NAMES[0], NAMES[1], "left", ALICE)
    take("reading one more vote", standings._read_news)
    assert len(standings._book.number_N) == num + 1
    store.delete_visitor(ALICE).result()
    take("reading that it is gone", standings._read_news)
    assert len(standings._book.number_N) == num
    again = Standings(store, NAMES, 20)
    take("reading all votes", again._read_news)
    assert again.rated("blind").num_votes == num
    store.close()
    return used


@pytest.mark.slow
def test_votes_come_in_and_are_counted(tmp_path: Path) -> None:
    used = measure(tmp_path, 2_000)
    assert used["import"] < 2.0
    assert used["reading one more vote"] < 0.05


@pytest.mark.long
def test_a_hundred_thousand_votes(tmp_path: Path) -> None:
    used = measure(tmp_path, 100_000)
    assert used["import"] < 100_000 / 3_000
    assert used["first view"] < 2.0  # which reads all votes
    assert all(used[name] < 2.0 for name in FILTERS)
    assert used["reading one more vote"] < 0.05
