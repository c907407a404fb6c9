"""How a tab of the page is opened, and what tabs are built with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gac_app.services.battles.arena import ArenaService
from gac_app.services.lab.lab import Lab
from gac_app.services.runs.runs import RunService
from gac_app.ui.assets import called
from gac_app.ui.compare.tab import CompareTab
from gac_app.ui.streaming import QUIET


@dataclass(frozen=True, slots=True)
class TabContext:
    """What tabs are built with; without a lab or an arena, theirs are missing."""

    service: RunService
    lab: Lab | None
    arena: ArenaService | None
    compare: CompareTab
    tabs: gr.Tabs

    def open_in_compare(self, source: gr.HTML, *events: str) -> None:
        """Let events of a component, which name a run, show it on the Compare tab."""
        self.compare.connect(source, *events)
        for name in events:
            self.show_compare_on(getattr(source, name))

    def show_compare_on(self, event: Callable[..., Any]) -> None:
        """Let an event choose the Compare tab."""
        event(lambda: gr.Tabs(selected="compare"), outputs=self.tabs, queue=False, **QUIET)


@contextmanager
def opened(tab_id: str, title: str, on_show: str = "") -> Iterator[None]:
    """A tab inside the current `gr.Tabs`, with what the block builds. Where these are within another tab, choosing that
    one shows this one too, if it was the last one chosen there.

    Args:
        tab_id: of the tab in Gradio.
        title: a word of `static/words`.
        on_show: the browser's code to run when the tab is chosen, as `assets.called` writes it.
    """
    with gr.Tab(title, id=tab_id) as element:
        yield
    element.select(None, js=called("page/address", "tellTab", tab_id), api_visibility="private")
    if on_show:
        outer = element.parent and element.parent.parent
        for chosen in (element, outer) if isinstance(outer, gr.Tab) else (element,):
            chosen.select(None, js=on_show, api_visibility="private")
