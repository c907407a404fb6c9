"""The spies of `tests/services/spies.py` among the default members. Minutes for each channel.

`pytest -m long -s tests/real/test_blindness.py`
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.bootstrap import kept_by
from gac_app.decoding.ensemble import Ensemble
from gac_app.services.battles.arena import ArenaService
from gac_app.services.runs.runs import RunService
from gac_app.storage import Store
from tests.databases import database_in
from tests.guessing import LIKELY
from tests.services.spies import OF_PAIRS, OF_SIDES, Spies

pytestmark = pytest.mark.long
NUM_BATTLES = 100
PROMPTS = [
    "Give me three tips for learning to play the guitar.",
    "Why is the sky blue?",
    "Tell me a story about a fox and a stone.",
    "How do I boil an egg?",
]


@pytest.fixture
def spies(default: Ensemble, tmp_path: Path) -> Iterator[Spies]:
    changes = {
        "settings": default.config.settings.model_copy(update={"max_new_tokens": 32}),
        "arena": default.config.arena.model_copy(update={"max_per_hour": 100_000}),
    }
    runs = RunService(default.config.model_copy(update=changes), store := Store(database_in(tmp_path / "gac.db")))
    runs.members.use(default, lambda: kept_by(default))
    arena = ArenaService(runs, store, random.Random(7))
    alone_first = sorted(arena.contestants, key=lambda one: (one.member is None, one.settings.mode == "every-step"))
    yield Spies(arena, runs, [one.name for one in alone_first], PROMPTS)
    arena.close()
    store.close()


@pytest.mark.parametrize("channel", [*OF_SIDES, *OF_PAIRS])
def test_a_spy_guesses_no_better_than_a_coin(spies: Spies, channel: str) -> None:
    score = spies.learns(channel, NUM_BATTLES) if channel in OF_PAIRS else spies.score(channel, NUM_BATTLES)
    print(score)
    assert score.p_value > LIKELY, str(score)
