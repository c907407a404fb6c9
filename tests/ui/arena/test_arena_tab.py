"""What the Arena's handlers and its script's calls are answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from gac_app.errors import NotFoundError, unpacked
from gac_app.ui.arena.lines import BattleLines
from gac_app.ui.arena.tab import ArenaHandlers, arena_functions
from gac_app.ui.compare.records import GATED
from gac_app.ui.streaming import stream_handler
from tests.fakes import WAIT_S
from tests.ui.planted import GATED as PLANTED_GATED
from tests.ui.planted import KEY, OTHER_KEY, PlantedEnsemble, planted_arena
from tests.ui.spy import asking, collect, lines_of

SAID = ("Paris", " is", " <b>the", "\n", " capital", ".", "")


class Tab:
    """The service behind the tab, and the tab's two ways to it."""

    def __init__(self, folder: Path, *, public: bool = False, **planted: Any) -> None:
        self.planted = planted_arena(folder, PlantedEnsemble(**{"pieces": SAID, **planted}), public=public)
        self.handlers = ArenaHandlers(self.planted.arena)
        self.ask = asking(arena_functions(self.planted.arena, ("Small", "Large")))

    def follow(self, name: str, key: str = KEY, /, **fields: Any) -> list[str]:
        event = gr.EventData(None, {"key": key, **fields})
        return collect(stream_handler(self.handlers.stream, getattr(self.handlers, name))(event))

    def battle(self, prompt: str = "Where?", **fields: Any) -> str:
        """The id of a battle that was answered."""
        last = lines_of(self.follow("start", prompt=prompt, again="", consents=False, **fields)[-1])
        battle: str = last[0]["run"]["id"]
        return battle


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Tab]]:
    tabs: list[Tab] = []

    def start(**options: Any) -> Tab:
        tabs.append(Tab(tmp_path, **options))
        return tabs[-1]

    yield start
    for tab in tabs:
        tab.planted.runs.close()


@pytest.fixture
def tab(make: Callable[..., Tab]) -> Tab:
    return make()


def test_a_battle_whose_page_leaves_at_once_ends(make: Callable[..., Tab]) -> None:
    tab = make(pieces=["word "] * 10_000, pause_s=0.005)

    async def leave() -> None:
        event = gr.EventData(None, {"key": KEY, "prompt": "Where?", "again": "", "consents": False})
        updates = stream_handler(tab.handlers.stream, tab.handlers.start)(event)
        await anext(updates)
        await updates.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    [battle] = tab.planted.arena.battles.all()
    assert battle.last.over.wait(WAIT_S)


def test_a_battle_streams_growing_lines_that_name_nobody(tab: Tab) -> None:
    values = tab.follow("start", prompt="Where?", again="", consents=False)
    for before, after in pairwise(values):
        assert after.startswith(before)
    found = lines_of(values[-1])
    assert found[0]["run"]["prompt"] == "Where?"
    for side in (0, 1):
        assert "".join(line[1] for line in found if isinstance(line, list) and line[0] == side) == "".join(SAID)
    states = [line["state"] for line in found if isinstance(line, dict) and "state" in line]
    assert (states[-1]["phase"], states[-1]["may_vote"], states[-1]["contestants"]) == ("answered", True, None)
    for hint in ("zyx", "Small", "Large", "every-step", "<"):
        assert hint not in values[-1]
    [battle] = tab.planted.arena.battles.all()
    with pytest.raises(NotFoundError):
        tab.planted.runs.history.find(KEY, battle.last.id)


def test_what_did_not_change_is_sent_once(tab: Tab) -> None:
    view = tab.planted.arena.battles.look(KEY, tab.battle())
    battle = BattleLines(view)
    assert battle.value(view) == battle.value(view)


def test_a_vote_tells_names_and_takes_reasons(tab: Tab) -> None:
    battle = tab.battle()
    refused = tab.ask("battle_tokens", battle=battle, turn=0, side="left", member="")
    assert refused["error"] == "Vote first, then see the steps."
    assert tab.ask("own_battles") == {"battles": [], "num": 0}  # a stored battle names both
    assert tab.ask("save_battles", format="jsonl")["content"] == ""

    voted = tab.ask("vote_battle", battle=battle, outcome="left", version=0)
    assert voted["state"]["phase"] == "revealed"
    remarked = tab.ask("remark_battle", battle=battle, left=["useful"], right=[], comment="fine")
    assert remarked["state"]["version"] == 1

    told = voted["state"]["contestants"]
    assert {one["name"] for one in told} < {"zyxone", "zyxtwo", "zyxthree"}
    for side, one in zip(("left", "right"), told, strict=True):
        found = tab.ask("battle_tokens", battle=battle, turn=0, side=side, member=one["member"] or "")
        assert "".join(token[0] for token in found["tokens"]) == "".join(SAID)
        assert found["members"] == ["Small", "Large"]
        assert tab.ask("inspect_answer", battle=battle, turn=0, side=side, position=1)["label"] == "␣is"
    for wrong in ({"position": 99}, {"turn": 1}, {"side": "middle"}):
        asked = {"turn": 0, "side": "left", "position": 1, **wrong}
        assert tab.ask("inspect_answer", battle=battle, **asked)["error"]
    late = tab.ask("vote_battle", battle=battle, outcome="left", version=4)
    assert late["error"] == "You have judged this battle already."
    [row] = tab.ask("own_battles")["battles"]
    assert (row["id"], row["prompt"], row["turns"], row["outcome"]) == (battle, "Where?", 1, "left")
    [line] = tab.ask("save_battles", format="jsonl")["content"].splitlines()
    assert json.loads(line)["battle_id"] == battle
    assert tab.ask("save_battles", OTHER_KEY, format="jsonl")["content"] == ""
    assert tab.ask("save_battles", format="csv")["name"] == "gac-battles-csv.csv"
    assert "expected one of" in tab.ask("save_battles", format="parquet")["error"]


def test_tokens_tell_where_the_ensemble_was_asked(tab: Tab) -> None:
    for _ in range(30):  # until the ensemble is drawn
        battle = tab.battle()
        tab.ask("vote_battle", battle=battle, outcome="tie", version=0)
        told = tab.ask("look_battle", battle=battle)["state"]["contestants"]
        side = next((side for side, one in zip(("left", "right"), told, strict=True) if one["member"] is None), "")
        if side:
            break
    of_all, alone = (
        [bool(token[1] & GATED) for token in found["tokens"]]
        for found in (tab.ask("battle_tokens", battle=battle, turn=0, side=side, member=name) for name in ("", "Small"))
    )
    assert of_all == [position in PLANTED_GATED for position in range(len(SAID))]
    assert not any(alone)


def test_the_conversation_goes_on_in_the_same_battle(tab: Tab) -> None:
    battle = tab.battle()
    found = lines_of(tab.follow("next", battle=battle, prompt="And now?")[-1])
    assert found[0]["run"]["id"] == battle
    [turn] = found[0]["run"]["turns"]
    assert turn == {"prompt": "Where?", "left": "".join(SAID), "right": "".join(SAID)}
    again = lines_of(tab.follow("follow", battle=battle)[-1])
    assert again[0]["run"]["prompt"] == "And now?"


def test_what_is_refused_is_said(tab: Tab, make: Callable[..., Tab]) -> None:
    def refusal(tab: Tab, name: str, key: str = KEY, /, **fields: Any) -> str:
        value = tab.follow(name, key, **fields)[-1]
        error: str = unpacked(json.loads(value))["error"]
        return error

    assert refusal(tab, "start", prompt=" ", again="", consents=False) == "Enter a prompt."
    assert refusal(tab, "start", prompt=3, again="", consents=False) == "Prompt: expected text"
    assert refusal(tab, "follow", OTHER_KEY, battle=tab.battle()) == "No such battle."
    assert refusal(tab, "next", battle="x", prompt="So?") == "No such battle."
    public = make(public=True)
    asked = {"prompt": "Where?", "again": ""}
    assert refusal(public, "start", **asked, consents=False).startswith("This server keeps prompts")
    assert lines_of(public.follow("start", **asked, consents=True)[-1])[0]["run"]


def test_a_skipped_battle_names_nobody_even_later(tab: Tab, make: Callable[..., Tab]) -> None:
    battle = tab.battle()
    assert tab.ask("skip_battle", battle=battle)["state"]["phase"] == "skipped"
    assert tab.planted.store.flush()
    later = make()
    for asked in (tab, later):
        (row,) = asked.ask("own_battles")["battles"]
        assert (row["names"], row["outcome"]) == ([], "")
        assert asked.ask("save_battles", format="jsonl")["content"] == ""
    assert later.ask("look_battle", battle=battle)["state"]["phase"] == "skipped"
    begun = later.follow("start", prompt="Where?", again=battle, consents=False)
    assert lines_of(begun[-1])[0]["run"]["prompt"] == "Where?"
