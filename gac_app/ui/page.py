"""The whole page: header with the members' state, the tabs, the settings at the side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from gac_app.services.batches import Batches
from gac_app.ui.about_tab import build_about
from gac_app.ui.assets import markup_of, page_assets
from gac_app.ui.batch_tab import build_batch, start_batch
from gac_app.ui.compare_tab import QUIET, CompareTab
from gac_app.ui.history_tab import build_history
from gac_app.ui.lab_tab import LabTab
from gac_app.ui.members import build_member_chips
from gac_app.ui.settings_panel import build_settings_panel

if TYPE_CHECKING:
    from gac_app.services.lab import Lab
    from gac_app.services.runs import RunService

__all__ = ["build_page", "page_assets"]

TITLE = "GaC side by side"
_TELL_LOADED = "() => { window.gac.isLoaded = true; document.dispatchEvent(new Event('gac-loaded')); }"
MAX_QUEUED_EVENTS = 200  # beyond the runs, which the service itself queues and refuses


def build_page(service: RunService, lab: Lab | None = None) -> gr.Blocks:
    """The page over `service`, with a Lab tab over `lab`; mount it with the keyword arguments of `page_assets()`."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="gac-top"):
            gr.HTML(markup_of("header"), js_on_load=None, apply_default_css=False, elem_id="gac-header")
            build_member_chips(service, page)
        build_settings_panel(service.config, lab)
        with gr.Tabs(elem_id="gac-tabs") as tabs:
            with gr.Tab("Compare", id="compare"):
                compare = CompareTab(service, lab)
            with gr.Tab("Batch", id="batch") as batch_tab:
                batches = Batches(service)
                batch = build_batch(service, batches)
                batch.started(start_batch(service.config, batches), None, batch, **QUIET)
            if lab:
                with gr.Tab("Lab", id="lab") as lab_tab:
                    studies = LabTab(lab)
                    # A new benchmark may have advice on the settings.
                    studies.list.kept(None, js="() => window.gac.checkSettings?.()", api_visibility="private")
                    compare.ask_on(studies.result.ask, "() => window.gac.askedInLab")
                    studies.result.ask(lambda: gr.Tabs(selected="compare"), outputs=tabs, queue=False, **QUIET)
                lab_tab.select(None, js="() => window.gac.refreshLab?.()", api_visibility="private")
            with gr.Tab("History", id="history") as history_tab:
                history = build_history(service)
            with gr.Tab("About", id="about"):
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
