"""The Leaderboard tab: contestants' ratings by votes, with filters and costs.

Nothing is computed until the tab is shown: then its script sends `wanted` and gets the standings and two charts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, get_args

import gradio as gr

from gac_app.arena.contestants import contestants_of
from gac_app.arena.rating.leaderboard import Leaderboard
from gac_app.arena.rating.votes import Source, Turns, VoteFilter
from gac_app.charts import Spec, rated_costs
from gac_app.config import Config
from gac_app.errors import GacError
from gac_app.services.battles.arena import ArenaService
from gac_app.services.runs.runs import config_hash_of
from gac_app.ui.assets import called, component
from gac_app.ui.plots import PlotRow
from gac_app.ui.requests import Fields, page_json, refusal_json
from gac_app.ui.settings.names import contestants_in_words
from gac_app.ui.streaming import QUIET
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

_COSTS = (("passes_per_token", "forward passes per token"), ("ms_per_token", "ms per token"))


def leaderboard_tab(context: TabContext) -> None:
    """Build the tab, where there is an arena."""
    if context.arena:
        with opened("leaderboard", word("tab.leaderboard"), called("arena/leaderboard", "showLeaderboard")):
            build_leaderboard(context.arena, context.service.config)


def build_leaderboard(arena: ArenaService, config: Config) -> Callable[[gr.EventData], list[Any]]:
    """Build the tab's components inside the current Blocks. Returns what handles `wanted`."""
    page = component("leaderboard", "arena/leaderboard", events=["wanted"])
    row, todays = PlotRow("gac-rated-plots", len(_COSTS)), config_hash_of(config)

    def show(event: gr.EventData) -> list[Any]:
        """The outputs: the standings for the filter, or an error."""
        try:
            fields, standings = Fields(event._data), arena.standings
            options = {name: fields.flag(name) for name in ("own", "controls_style")}
            wanted = filter_of(fields)
            board = standings.leaderboard(fields.visitor_key, wanted, **options)
            (languages, configs), language = standings.choices(), fields.text("said_in")
        except GacError as error:
            return [refusal_json(error), *[gr.skip() for _ in _COSTS]]
        # The words say today's settings, so every vote has to be on these.
        is_todays = {todays}.issuperset([wanted.config_hash] if wanted.config_hash else configs)
        words = contestants_in_words([one.name for one in board.standings], config) if is_todays else {}
        reply = {
            **asdict(board),
            "words": words,
            "alone": [one.name for one in contestants_of(config) if one.member],
            "min_votes": config.arena.min_votes,
            "languages": languages,
            "configs": configs,
            "is_reading": arena.is_reading,
            "at": fields.number("at"),  # by which equal replies differ: Gradio draws only what has changed
        }
        return [page_json(reply), *row.showing(charts(board, words), language)]

    page.wanted(show, outputs=[page, *row.plots], trigger_mode="multiple", **QUIET)
    return show


def filter_of(fields: Fields) -> VoteFilter:
    """The filter in a request. Raises RequestError."""
    return VoteFilter(
        source=fields.choice("source", get_args(Source)),
        language=fields.text("language"),
        min_chars=fields.number("min_chars"),
        max_chars=fields.number("max_chars"),
        turns=fields.choice("turns", get_args(Turns)),
        since=fields.time("since"),
        before=fields.time("before"),
        config_hash=fields.text("config"),
        has_flagged=fields.flag("has_flagged"),
    )


def charts(board: Leaderboard, words: Mapping[str, str]) -> list[Spec]:
    """Charts of rating over cost, for contestants that have both; none for fewer than two. `words`: for their names."""
    plots = []
    for field, label in _COSTS:
        figures = {one.name: (getattr(one, field), one.rating, one.low, one.high) for one in board.standings}
        rows = [
            dict(zip(("name", "cost", "rating", "low", "high"), (words.get(name, name), *found), strict=True))
            for name, found in figures.items()
            if None not in found
        ]
        if len(rows) > 1:
            plots.append(rated_costs(label, rows))
    return plots
