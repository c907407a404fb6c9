"""The whole page: the header with the members' state, the tabs, the settings panel."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.runs import RunService
from gac_app.ui.about_tab import about_tab
from gac_app.ui.arena.leaderboard import leaderboard_tab
from gac_app.ui.arena.tab import arena_tab
from gac_app.ui.assets import called, component, page_assets
from gac_app.ui.batch_tab import batch_tab
from gac_app.ui.compare.tab import CompareTab
from gac_app.ui.history_tab import history_tab
from gac_app.ui.lab.tab import lab_tab
from gac_app.ui.members import build_member_chips
from gac_app.ui.requests import MAX_EVENTS, Fields, Reply, same
from gac_app.ui.settings.panel import build_settings_panel
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

__all__ = ["build_page", "page_assets"]

TITLE = "GaC side by side"


def who_is_signed_in(fields: Fields) -> Reply:
    """For the account menu, where visitors may sign in."""
    account = fields.account
    if account is None:
        return {"is_signed_in": False, "name": "", "left_s": None}
    return {"is_signed_in": True, **same(account, "name", "left_s")}


def _tabs_within(tab_id: str, title: str, context: TabContext, *tabs: Callable[[TabContext], None]) -> gr.Tabs:
    """A tab with others within."""
    with opened(tab_id, title), gr.Tabs() as within:
        for build_tab in tabs:
            build_tab(context)
    return within


def build_page(
    service: RunService, lab: Lab | None = None, arena: ArenaService | None = None, *, has_sign_in: bool = False
) -> gr.Blocks:
    """The page over `service`, with a tab each over `lab` and `arena`; to be mounted with `page_assets()`.

    Args:
        has_sign_in: whether the host lets visitors sign in.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="gac-top"):
            address = component("header", "page/address", events=["moved"])
            build_member_chips(service, page)
            if has_sign_in:
                component("account", "page/account", functions=[who_is_signed_in])
        build_settings_panel(service.config, lab)
        with gr.Tabs(elem_id="gac-tabs") as tabs:
            with opened("compare", word("tab.compare"), called("compare/compare", "show")):
                compare = CompareTab(service, lab)
            context = TabContext(service, lab, arena, compare, tabs)
            within: dict[str, gr.Tabs] = {}
            if arena:
                within["contests"] = _tabs_within("contests", word("tab.contests"), context, arena_tab, leaderboard_tab)
            within["experiments"] = _tabs_within("experiments", word("tab.experiments"), context, batch_tab, lab_tab)
            history_tab(context)
            about_tab(context)
        choose = called("page/address", "addressedTab", *within)
        address.moved(None, None, [tabs, *within.values()], js=choose, api_visibility="private")
        compare.ask_on(page.load, called("page/draft", "draft"))
        page.load(None, js=called("page/loaded", "tellLoaded"), api_visibility="private")
    page.queue(max_size=MAX_EVENTS)
    return page
