"""The account menu in the header, where visitors may sign in: who is signed in, and the way in and out."""

from __future__ import annotations

import gradio as gr

from gac_app.ui.assets import component
from gac_app.ui.requests import Fields, Reply


def build_account() -> gr.HTML:
    """A menu that explains what signing in does."""

    def who_is_signed_in(fields: Fields) -> Reply:
        account = fields.account
        if account is None:
            return {"is_signed_in": False, "name": "", "left_s": None}
        return {"is_signed_in": True, "name": account.name, "left_s": account.left_s}

    return component("account", "page/account", functions=[who_is_signed_in])
