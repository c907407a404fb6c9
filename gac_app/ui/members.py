"""The chips with each member's state: fetching 42 % · 12 MB/s, loading, ready, or failed with the reason."""

from __future__ import annotations

from dataclasses import astuple

import gradio as gr

from gac_app.errors import Phrase, without_folders
from gac_app.services.runs.runs import RunService
from gac_app.ui.assets import component
from gac_app.ui.requests import page_json, same
from gac_app.ui.streaming import QUIET

TICK_S = 1.0


def build_member_chips(service: RunService, page: gr.Blocks) -> None:
    """The chips as they are now, so that nothing moves when they are refreshed: by a timer until all are ready, and
    later where the page hears that they load, since the server has begun anew.
    """
    markup = '<ul class="gac-chips" data-t-at="aria-label:members"></ul><div class="gac-chip-notes"></div>'
    chips = component("members", "page/members", events=("stale",), markup=markup, value=states_of(service))
    timer = gr.Timer(TICK_S)

    def look() -> tuple[str, gr.Timer]:
        is_over = service.members.are_ready  # before the states, so that the last ones say it
        return states_of(service), gr.Timer(active=not is_over)

    for listen in (page.load, timer.tick, chips.stale):
        listen(look, outputs=[chips, timer], queue=False, **QUIET)


def states_of(service: RunService) -> str:
    """Every member's state as JSON for the chips' script."""
    speeds, answers = service.member_speeds(), service.members.are_ready
    states = [
        {
            **same(state, "name", "phase", "words", "progress", "notice"),
            "detail": without_folders(state.detail),
            "answers": answers,
            "facts": [*map(astuple, state.facts), *_cost(speeds.get(state.name))],
        }
        for state in service.members.states()
    ]
    return page_json(states)


def _cost(tokens_per_s: float | None) -> list[tuple[str, str, bool]]:
    """A member's last time per token alone, as a fact on its card."""
    return (
        [("Cost", Phrase("{time} ms per token, in the last run", time=f"{1000 / tokens_per_s:,.0f}"), False)]
        if tokens_per_s
        else []
    )
