"""A row of charts below a component, filled together with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from textwrap import wrap

import gradio as gr
from gradio.components.plot import PlotData

from gac_app.charts import Spec, reworded
from gac_app.ui.words import said_value

_TITLE_CHARS = 40  # of a line: a longer one would leave the chart less room on a phone
_FORMATS = {"de": {"decimal": ",", "thousands": ".", "grouping": [3], "currency": ["", " €"]}}  # of numbers


def in_language(specs: Sequence[Spec], language: str) -> list[Spec]:
    """Charts with their words and numbers as a language has them."""
    found = [reworded(spec, partial(said_value, language=language)) for spec in specs]
    for spec in found if language in _FORMATS else ():
        embedded = {**spec["usermeta"]["embedOptions"], "formatLocale": _FORMATS[language]}
        spec["usermeta"] = {"embedOptions": embedded}
    return found


def in_lines(spec: Spec) -> Spec:
    """A chart whose title stands on lines that a phone has room for."""
    return {**spec, "title": wrap(spec["title"], _TITLE_CHARS, break_long_words=False)} if "title" in spec else spec


class PlotRow:
    """Builds a row of at most `num` charts inside the current Blocks; hidden at first."""

    def __init__(self, elem_id: str, num: int) -> None:
        with gr.Row(elem_id=elem_id, elem_classes="gac-plots"):
            self.plots = [gr.Plot(visible=False, show_label=False, container=False, min_width=300) for _ in range(num)]

    def showing(self, specs: Sequence[Spec], language: str) -> list[gr.Plot]:
        """The updates of `plots`; those without a chart are hidden."""
        drawn = [
            gr.Plot(value=PlotData(type="altair", plot=json.dumps(in_lines(spec))), visible=True)
            for spec in in_language(specs[: len(self.plots)], language)
        ]
        return [*drawn, *(gr.Plot(value=None, visible=False) for _ in self.plots[len(drawn) :])]
