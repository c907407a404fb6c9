"""The About tab: the page, the method, the members with their notices, the keyboard keys."""

from __future__ import annotations

from html import escape

import gradio as gr

from gac_app.config import Config
from gac_app.member_config import MemberConfig
from gac_app.ui.assets import markup_of, script_of
from gac_app.ui.tabs import TabContext, opened
from gac_app.ui.words import word

_MEMBERS_SLOT = "<!-- members -->"


def about_tab(context: TabContext) -> None:
    """Build the tab."""
    with opened("about", word("tab.about")):
        build_about(context.service.config)


def build_about(config: Config) -> gr.HTML:
    """A static page. Names and notices come from the operator's file and are escaped."""
    members = "".join(_member(member) for member in config.members)
    return gr.HTML(
        value=markup_of("about").replace(_MEMBERS_SLOT, members),
        js_on_load=script_of("page/words"),
        apply_default_css=False,
        elem_id="gac-about",
    )


def _member(member: MemberConfig) -> str:
    name = escape(member.name)
    if member.url.startswith(("https://", "http://")):
        name = f'<a href="{escape(member.url)}" target="_blank" rel="noopener noreferrer">{name}</a>'
    notice = f"<p>{escape(member.notice)}</p>" if member.notice else ""
    of = f' (<span data-t="about.view"></span> {escape(member.of)})' if member.of else ""
    return f"<li><strong>{name}</strong>{of}{notice}</li>"
