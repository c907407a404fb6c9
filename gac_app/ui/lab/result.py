"""The Lab's selected result: its description, charts, tables and every answer."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import gradio as gr

from gac_app.charts import reworded, to_svg
from gac_app.config import Config
from gac_app.errors import changed
from gac_app.evaluation.studies import KeptResult, StudyResult, Table, explained, to_csv
from gac_app.services.lab.lab import Lab
from gac_app.ui.assets import component
from gac_app.ui.plots import PlotRow, in_language
from gac_app.ui.requests import Fields, Reply, page_json, same
from gac_app.ui.settings.names import systems_in_words

MAX_PLOTS = 6  # in the study of vocabularies, each pair of members has one


class ResultView:
    """Head, charts and body, filled by one event; `outputs` are their components."""

    def __init__(self, lab: Lab, config: Config) -> None:
        self._config = config

        def lab_picture(fields: Fields) -> Reply:
            kept = lab.results.load(fields.visitor_key, fields.text("result"))
            return {"svg": to_svg(in_language(for_people(kept.result, config).plots, fields.text("said_in")))}

        with gr.Column(elem_id="gac-lab-shown"):
            self._head = component("lab_head", "lab/head", functions=[lab_picture])
            self._row = PlotRow("gac-lab-plots", MAX_PLOTS)
            self.body = component("lab_body", "lab/body", events=["ask"])

    @property
    def outputs(self) -> list[gr.components.Component]:
        return [self._head, *self._row.plots, self.body]

    def nothing(self, error: str = "") -> list[Any]:
        """The outputs without a result."""
        return [page_json({"error": error}) if error else "", *self._row.showing([], "en"), ""]

    def of(self, kept: KeptResult, language: str) -> list[Any]:
        """The outputs for a result. What the server draws is in the language."""
        result = for_people(kept.result, self._config)
        row = self._row.showing(result.plots, language)
        return [page_json(_head_of(kept, result)), *row, page_json(_body_of(kept, result, self._config))]


def _head_of(kept: KeptResult, result: StudyResult) -> Reply:
    right = [{one.system: one.is_right for one in question.answers} for question in result.asked]
    is_whole = bool(right) and all(one.keys() == right[0].keys() for one in right)
    has_verdict = not is_whole or result.study == "snowball"  # of its own: it asks in parts, or twice
    systems = [] if has_verdict else [*right[0]]
    return {
        **same(kept, "id", "name", "created_at"),
        "members": list(kept.members),
        **same(result, "study", "heading", "settings"),
        "remarks": [*result.remarks, *([result.failure] if result.failure else [])],
        "systems": systems,
        "right": [[one[system] for system in systems] for one in right],
        "has_plot": bool(result.plots),
        "csv": to_csv(kept.result.tables),
        "json": json.dumps(result.data, ensure_ascii=False, indent=2),
    }


def _body_of(kept: KeptResult, result: StudyResult, config: Config) -> Reply:
    about = explained(kept.result)
    words = systems_in_words(about, config)
    return {
        "id": kept.id,
        "members": list(kept.members),
        "tables": [asdict(table) for table in result.tables],
        "words": [[words[name], sentence] for name, sentence in about.items()],
        "asked": [asdict(question) for question in result.asked],
    }


def for_people(result: StudyResult, config: Config) -> StudyResult:
    """The result with its systems named for people, wherever it names them. Files keep the keys."""
    keys = [row[0] for table in result.tables for row in table.rows]
    keys += [answer.system for question in result.asked for answer in question.answers]
    words = systems_in_words(dict.fromkeys(keys), config)

    def named(text: str) -> str:
        return changed(text, lambda one: words.get(one, one))

    def table_named(table: Table) -> Table:
        rows = [[named(first), *others] for first, *others in table.rows]
        return replace(table, columns=[named(column) for column in table.columns], rows=rows)

    answers = [[replace(one, system=named(one.system)) for one in question.answers] for question in result.asked]
    return replace(
        result,
        tables=[table_named(table) for table in result.tables],
        remarks=[named(remark) for remark in result.remarks],
        failure=named(result.failure),
        plots=[reworded(plot, named) for plot in result.plots],
        asked=[replace(question, answers=own) for question, own in zip(result.asked, answers, strict=True)],
    )
