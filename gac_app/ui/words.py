"""The page's texts, one table per language in `static/words`.

A table has the page's texts by key. Under `server` it has translations of the server's English texts, with `{name}` for
variable parts. Missing texts are shown in English. Gradio gets the tables with the page, as `gr.I18n`, where
`static/js/words.js` reads them.
"""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from gac_app.folders import STATIC_DIR

WORDS_DIR = STATIC_DIR / "words"

Table = dict[str, Any]


def tables() -> dict[str, Table]:
    """The table of each language."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(WORDS_DIR.glob("*.json"))}


def translations() -> gr.I18n:
    """For `gr.mount_gradio_app` or `Blocks.launch`."""
    return gr.I18n(**tables())


word = gr.I18n()  # key -> a placeholder that Gradio replaces by the word in the browser's language
