"""The Leaderboard tab: contestants' ratings by votes, with filters and costs.

Nothing is computed until the tab is shown: then its script sends `wanted` and gets the standings and two charts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

import gradio as gr

from gac_app.arena.rating.leaderboard import Leaderboard, Standing
from gac_app.arena.rating.votes import Source, VoteFilter
from gac_app.charts import Rated, Spec, rated_costs
from gac_app.config import Config
from gac_app.errors import GacError
from gac_app.services.battles.arena import ArenaService
from gac_app.ui.assets import called, component
from gac_app.ui.plots import PlotRow
from gac_app.ui.requests import Fields, Reply, page_json, refusal_json
from gac_app.ui.settings.names import contestants_in_words
from gac_app.ui.streaming import QUIET
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

TURNS = ("", "one", "several")
_COSTS = (("passes_per_token", "forward passes per token"), ("ms_per_token", "ms per token"))


def leaderboard_tab(context: TabContext) -> None:
    """Build the tab, where there is an arena."""
    if context.arena:
        with opened("leaderboard", word("tab.leaderboard"), called("arena/leaderboard", "showLeaderboard")):
            LeaderboardTab(context.arena, context.service.config)


class LeaderboardTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, arena: ArenaService, config: Config) -> None:
        self._arena, self._config = arena, config
        board = component("leaderboard", "arena/leaderboard", events=["wanted"])
        self._row = PlotRow("gac-rated-plots", len(_COSTS))
        board.wanted(self.show, outputs=[board, *self._row.plots], **QUIET)

    def show(self, event: gr.EventData) -> list[Any]:
        """The outputs: the standings for the filter, or an error."""
        try:
            fields = Fields(event._data)
            standings = self._arena.standings
            board = standings.leaderboard(
                fields.visitor_key,
                filter_of(fields),
                own=fields.flag("own"),
                controls_style=fields.flag("controls_style"),
            )
            (languages, configs), language = standings.choices(), fields.text("said_in")
        except GacError as error:
            return [refusal_json(error), *[gr.skip() for _ in _COSTS]]
        words = contestants_in_words([one.name for one in board.standings], self._config)
        reply = {
            **_board(board),
            "words": words,
            "min_votes": self._config.arena.min_votes,
            "languages": languages,
            "configs": configs,
            "reading": self._arena.reading,
            "at": time.monotonic(),  # by which equal replies differ: Gradio draws only what has changed
        }
        return [page_json(reply), *self._row.showing(charts(board, words), language)]


def filter_of(fields: Fields) -> VoteFilter:
    """The filter in a request. Raises RequestError."""
    return VoteFilter(
        source=fields.choice("source", get_args(Source)),  # type: ignore[arg-type]
        language=fields.text("language"),
        min_chars=fields.number("min_chars"),
        max_chars=fields.number("max_chars"),
        turns=fields.choice("turns", TURNS),  # type: ignore[arg-type]
        since=fields.time("since"),
        before=fields.time("before"),
        config_hash=fields.text("config"),
        has_flagged=fields.flag("has_flagged"),
    )


def charts(board: Leaderboard, words: Mapping[str, str]) -> list[Spec]:
    """Charts of rating over cost, for contestants that have both; none for fewer than two. `words`: for their names."""
    plots = []
    for field, label in _COSTS:
        points = [found for one in board.standings if (found := _rated(one, field, words.get(one.name, one.name)))]
        if len(points) > 1:
            plots.append(rated_costs(label, points))
    return plots


def _rated(one: Standing, cost: str, name: str) -> Rated | None:
    value = getattr(one, cost)
    if value is None or one.rating is None or one.low is None or one.high is None:
        return None
    return Rated(name, value, one.rating, one.low, one.high)


def _board(board: Leaderboard) -> Reply:
    return {
        **asdict(board),
        "standings": [asdict(one) for one in board.standings],
        "left_bias": board.left_bias and asdict(board.left_bias),
    }
