"""The consent box under the prompt, if there is a mirror: whether the visitor's later runs and votes are published."""

from __future__ import annotations

import gradio as gr

from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of
from gac_app.ui.assets import component
from gac_app.ui.requests import Fields


def build_consent(service: RunService) -> gr.HTML:
    """A check box; nothing is published unless it is ticked."""

    def set_consent(fields: Fields) -> None:
        service.set_consent(fields.visitor_key, fields.flag("consents"), owner_of(fields.browser_key))

    return component("consent", "page/consent", functions=[set_consent])
