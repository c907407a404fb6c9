"""The page's words, in every language that it speaks: a table each in `static/words`.

A table holds what the page says by keys. Under `server` it holds what the server says, by its English words, where
`{name}` stands for what differs; what a table lacks is said in English.
Gradio gets the tables with the page, as `gr.I18n`; `static/js/words.js` reads them there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

WORDS_DIR = Path(__file__).resolve().parents[2] / "static" / "words"

Table = dict[str, Any]


def tables() -> dict[str, Table]:
    """Language -> its words."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(WORDS_DIR.glob("*.json"))}


def translations() -> gr.I18n:
    """For `gr.mount_gradio_app` or `Blocks.launch`."""
    return gr.I18n(**tables())


word = gr.I18n()  # a key -> what Gradio replaces by the word of the browser's language
