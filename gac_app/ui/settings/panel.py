"""The settings of the next run: a panel at the side, and a button under the prompt that opens it and shows a summary.

The panel's script draws the fields and stores the choices in the browser. Every change arrives here as an event, and is
answered by a summary, faults by field, fields without effect, and advice.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from gac_app.config import Config
from gac_app.errors import Phrase, RequestError
from gac_app.evaluation.metrics import strength_advice
from gac_app.services.lab.lab import Lab
from gac_app.ui.assets import component, markup_of
from gac_app.ui.requests import page_json
from gac_app.ui.settings.fields import idle_of, spec_of
from gac_app.ui.settings.values import changes_from, faults_in, values_of
from gac_app.ui.settings.wording import settings_in_words
from gac_app.ui.streaming import QUIET


def build_settings_panel(config: Config, lab: Lab | None) -> None:
    """The panel, closed at first, with this browser's last choices, else the configuration's settings."""
    defaults = values_of(config, config.settings)
    first = {"spec": spec_of(config), "members": config.member_names, "defaults": defaults}
    panel = component(
        "settings_block",
        "settings/settings",
        events=["changed"],
        markup=markup_of("settings"),
        value=page_json({**first, **meaning_of(config, lab, defaults)}),
    )

    def describe(event: gr.EventData) -> str:
        data = event._data if isinstance(event._data, dict) else {}
        return page_json({"at": data.get("at"), **meaning_of(config, lab, data.get("values"))})

    # "multiple": changes during a check count too; the script uses the answer to the last one.
    panel.changed(describe, None, panel, trigger_mode="multiple", queue=False, **QUIET)


def meaning_of(config: Config, lab: Lab | None, values: object) -> dict[str, Any]:
    """The meaning of the panel's values for the next run.

    Args:
        values: from the browser, not checked yet.
    """
    faults = faults_in(config, values)
    known = {**values_of(config, config.settings), **(values if isinstance(values, dict) else {})}
    idle = [name for name in idle_of(config, known) if name not in faults]  # what is wrong has to be seen
    meaning = {"faults": faults, "idle": idle, "summary": "", "advice": ""}
    try:
        settings = config.settings_from(changes_from(config, values))
    except RequestError as error:
        return {**meaning, "summary": Phrase("to correct: {message}", message=error.message)}
    benchmarks = lab.results.benchmarks() if lab else ()
    return {**meaning, "summary": settings_in_words(settings), "advice": strength_advice(config, settings, benchmarks)}
