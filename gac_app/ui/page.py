"""The whole page: the header with the members' state, the tabs, the settings panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from gac_app.services.runs.batches import Batches
from gac_app.ui.about_tab import build_about
from gac_app.ui.account import build_account
from gac_app.ui.arena.leaderboard import LeaderboardTab
from gac_app.ui.arena.tab import build_arena
from gac_app.ui.assets import markup_of, page_assets, script_of
from gac_app.ui.batch_tab import build_batch, start_batch
from gac_app.ui.compare.tab import QUIET, CompareTab
from gac_app.ui.first_paint import put_first
from gac_app.ui.history_tab import build_history
from gac_app.ui.lab.tab import LabTab
from gac_app.ui.members import build_member_chips
from gac_app.ui.settings.panel import build_settings_panel
from gac_app.ui.words import word

if TYPE_CHECKING:
    from gac_app.services.battles.arena import ArenaService
    from gac_app.services.lab.lab import Lab
    from gac_app.services.runs.runs import RunService

__all__ = ["build_page", "page_assets"]

TITLE = "GaC side by side"
_TELL_LOADED = "() => { window.gac.isLoaded = true; document.dispatchEvent(new Event('gac-loaded')); }"
MAX_QUEUED_EVENTS = 200  # beside runs, which the service queues and refuses itself


def build_page(
    service: RunService, lab: Lab | None = None, arena: ArenaService | None = None, *, has_sign_in: bool = False
) -> gr.Blocks:
    """The page over `service`, with a tab each over `lab` and `arena`; to be mounted with `page_assets()`.

    Args:
        has_sign_in: whether the host lets visitors sign in.
    """
    put_first()
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="gac-top"):
            gr.HTML(markup_of("header"), js_on_load=script_of(), apply_default_css=False, elem_id="gac-header")
            build_member_chips(service, page)
            if has_sign_in:
                build_account()
            _build_look()
        build_settings_panel(service.config, lab)
        with gr.Tabs(elem_id="gac-tabs") as tabs:
            with gr.Tab(word("tab.compare"), id="compare") as compare_tab:
                compare = CompareTab(service, lab)
            compare_tab.select(None, js="() => window.gac.showCompare?.()", api_visibility="private")
            if arena:
                with gr.Tab(word("tab.arena"), id="arena") as arena_tab:
                    build_arena(arena, service.config)
                with gr.Tab(word("tab.leaderboard"), id="leaderboard") as leaderboard_tab:
                    LeaderboardTab(arena, service.config.arena.min_votes)
                arena_tab.select(None, js="() => window.gac.showArena?.()", api_visibility="private")
                leaderboard_tab.select(None, js="() => window.gac.showLeaderboard?.()", api_visibility="private")
            with gr.Tab(word("tab.batch"), id="batch") as batch_tab:
                batches = Batches(service)
                batch = build_batch(service, batches)
                batch.started(start_batch(service.config, batches), None, batch, **QUIET)
            if lab:
                with gr.Tab(word("tab.lab"), id="lab") as lab_tab:
                    studies = LabTab(lab)
                    # A new benchmark may change the advice on settings.
                    studies.list.kept(None, js="() => window.gac.checkSettings?.()", api_visibility="private")
                    compare.ask_on(studies.result.ask, "() => window.gac.askedInLab")
                    studies.result.ask(lambda: gr.Tabs(selected="compare"), outputs=tabs, queue=False, **QUIET)
                lab_tab.select(None, js="() => window.gac.refreshLab?.()", api_visibility="private")
            with gr.Tab(word("tab.history"), id="history") as history_tab:
                history = build_history(service)
            with gr.Tab(word("tab.about"), id="about"):
                build_about(service.config)
        compare.connect(history, "open", "rerun")
        compare.start_afresh_on(history.cleared)
        compare.connect(batch, "open")
        batch_tab.select(None, js="() => window.gac.refreshBatch?.()", api_visibility="private")
        for event in (history.open, history.rerun, batch.open):
            event(lambda: gr.Tabs(selected="compare"), outputs=tabs, queue=False, **QUIET)
        page.load(None, js=_TELL_LOADED, api_visibility="private")
        history_tab.select(None, js="() => window.gac.refreshHistory?.()", api_visibility="private")
    page.queue(max_size=MAX_QUEUED_EVENTS)
    return page


def _build_look() -> None:
    """The choice of theme and language."""
    gr.HTML(markup_of("look"), js_on_load=script_of("look"), apply_default_css=False, elem_id="gac-look")
