"""What the Leaderboard's script is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import gradio as gr
import pytest

from gac_app.arena.rating.votes import Source
from gac_app.errors import unpacked
from gac_app.services.mirror.mirror import Mirror
from gac_app.ui.arena.leaderboard import build_leaderboard
from gac_app.ui.assets import markup_of
from tests.services.house import until
from tests.ui.planted import KEY, Planted, planted_arena
from tests.ui.planted_votes import plant_vote, plant_votes

ALL = {"said_in": "en", "source": "blind", "min_chars": 0, "max_chars": 0, "at": 1}
ALL |= dict.fromkeys(("turns", "language", "config", "since", "before"), "")
ALL |= dict.fromkeys(("own", "has_flagged", "controls_style"), False)

Ask = Callable[..., tuple[dict[str, Any], list[Any]]]


@pytest.fixture
def ask(planted: Planted) -> Ask:
    return asking(planted)


def asking(planted: Planted) -> Ask:
    """The board and the charts of what is asked for."""
    with gr.Blocks():
        show = build_leaderboard(planted.arena, planted.runs.config)

    def asked(**changes: Any) -> tuple[dict[str, Any], list[Any]]:
        board, *plots = show(gr.EventData(None, {"key": KEY, **ALL, **changes}))
        return unpacked(json.loads(board)), plots

    return asked


def test_it_says_while_votes_are_still_being_read(ask: Ask, tmp_path: Path) -> None:
    assert not ask()[0]["is_reading"]
    (tmp_path / "mirrored").mkdir()
    planted = planted_arena(tmp_path / "mirrored", mirror=lambda store: Mirror(store, tmp_path / "mirror"))
    ask = asking(planted)
    assert ask()[0]["is_reading"]
    planted.runs.start_mirror()
    until(lambda: not ask()[0]["is_reading"], "for the mirror")
    planted.runs.close()


def test_ratings_charts_and_filters(planted: Planted, ask: Ask) -> None:
    board, plots = ask()
    assert board["problem"].startswith("Not enough votes: at least two contestants need")
    assert [plot.visible for plot in plots] == [False, False]
    plant_votes(planted.store, 300)
    board, plots = ask()
    assert (board["problem"], board["num_votes"], board["min_votes"]) == ("", 300, 2)
    assert board["standings"][-1]["name"] == "zyxone"
    assert all(one["low"] < one["rating"] < one["high"] for one in board["standings"])
    assert board["left_bias"]["low"] < 0.5 < board["left_bias"]["high"]
    drawn = [json.loads(plot.value.plot if hasattr(plot.value, "plot") else plot.value["plot"]) for plot in plots]
    assert "zyxfour" in drawn[0]["description"]
    assert "ms per token" in drawn[1]["description"]
    styled, _ = ask(controls_style=True)
    assert set(styled["style_effects"]) == {"chars", "headings", "lists", "bold"}
    assert ask(own=True)[0]["num_votes"] == 0
    assert ask(max_chars=200)[0]["num_votes"] == 0
    assert ask(turns="several")[0]["num_votes"] == 0
    assert ask(before="2020-01-01T00:00:00Z")[0]["num_votes"] == 0
    assert ask(source="reference")[0]["num_votes"] == 0


def test_names_say_today_s_settings_only_of_votes_on_them(planted: Planted, ask: Ask) -> None:
    today = planted.runs.config_hash
    for config_hash in (today, "last month's"):
        plant_vote(planted.store, "gate", "every step", "left", config_hash=config_hash)
    assert ask(config=today)[0]["words"]["gate"] == "ensemble, asks below 50 %"
    assert [ask(config=shown)[0]["words"] for shown in ("", "last month's")] == [{}, {}]


WRONG = [({"source": "mine"}, "Source: expected one of"), ({"since": "yesterday"}, "Since: expected a date")]
WRONG += [({"min_chars": -1}, "Min chars: expected a whole number"), ({"own": 1}, "Own: expected true or false")]


@pytest.mark.parametrize(("change", "error"), WRONG)
def test_what_cannot_be_meant_is_refused(ask: Ask, change: dict[str, Any], error: str) -> None:
    assert ask(**change)[0]["error"].startswith(error)


def test_the_tab_offers_the_sources_that_there_are() -> None:
    select = re.search(r'<select name="source">(.*?)</select>', markup_of("leaderboard"), re.DOTALL)
    assert select
    assert re.findall(r'value="([^"]*)"', select[1]) == list(get_args(Source))
