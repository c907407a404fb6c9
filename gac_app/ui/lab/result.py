"""The Lab's selected result: its description, charts, tables and every answer."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.plot import PlotData

from gac_app.charts import to_svg
from gac_app.evaluation.studies import explained, to_csv
from gac_app.ui.assets import component
from gac_app.ui.requests import Fields, Reply, page_json, replying

if TYPE_CHECKING:
    from gac_app.evaluation.studies import KeptResult
    from gac_app.services.lab.lab import Lab

MAX_PLOTS = 6  # in the study of vocabularies, each pair of members has one


class ResultView:
    """Head, charts and body, filled by one event; `outputs` are their components."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

        @replying
        def lab_picture(fields: Fields) -> Reply:
            kept = lab.results.load(fields.visitor_key, fields.text("result"))
            return {"svg": to_svg(kept.result.plots)}

        with gr.Column(elem_id="gac-lab-shown"):
            self._head = component("lab_head", functions=[lab_picture])
            with gr.Row(elem_id="gac-lab-plots", elem_classes="gac-plots"):
                self._plots = [
                    gr.Plot(visible=False, show_label=False, container=False, min_width=300) for _ in range(MAX_PLOTS)
                ]
            self.body = component("lab_body")

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [self._head, *self._plots, self.body]

    def nothing(self, error: str = "") -> list[Any]:
        """The outputs without a result."""
        hidden = [gr.Plot(value=None, visible=False) for _ in range(MAX_PLOTS)]
        return [page_json({"error": error}) if error else "", *hidden, ""]

    def of(self, kept: KeptResult) -> list[Any]:
        """The outputs for a result."""
        drawn = [
            gr.Plot(value=PlotData(type="altair", plot=json.dumps(plot)), visible=True)
            for plot in kept.result.plots[:MAX_PLOTS]
        ]
        hidden = [gr.Plot(value=None, visible=False) for _ in range(MAX_PLOTS - len(drawn))]
        return [page_json(_head_of(kept)), *drawn, *hidden, page_json(_body_of(kept))]


def _head_of(kept: KeptResult) -> Reply:
    result = kept.result
    return {
        "id": kept.id,
        "name": kept.name,
        "study": result.study,
        "heading": result.heading,
        "created_at": kept.created_at,
        "members": list(kept.members),
        "remarks": [*result.remarks, *([f"Note: {result.failure}"] if result.failure else [])],
        "has_plot": bool(result.plots),
        "csv": to_csv(result.tables),
        "json": json.dumps(result.data, ensure_ascii=False, indent=2),
    }


def _body_of(kept: KeptResult) -> Reply:
    return {
        "id": kept.id,
        "members": list(kept.members),
        "tables": [asdict(table) for table in kept.result.tables],
        "words": explained(kept.result),
        "asked": [asdict(question) for question in kept.result.asked],
    }
