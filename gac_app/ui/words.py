"""The page's texts, one table per language in `static/words`.

A table has the page's texts by key. Under `server` it has translations of the server's phrases (`gac_app/errors.py`)
by their English templates. Missing texts are shown in English. Gradio gets the tables with the page, as `gr.I18n`,
where `static/js/words.js` reads them.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import gradio as gr

from gac_app.errors import Phrase
from gac_app.folders import STATIC_DIR

WORDS_DIR = STATIC_DIR / "words"

Table = dict[str, Any]

_FIGURES = re.compile(r"[-+(\s]*\d[-+\d.,%():\s]*")
_DECIMAL_COMMA = {"de"}
_SIGNS = str.maketrans(",.", ".,")


def tables() -> dict[str, Table]:
    """The table of each language."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(WORDS_DIR.glob("*.json"))}


def translations() -> gr.I18n:
    """For `gr.mount_gradio_app` or `Blocks.launch`."""
    return gr.I18n(**tables())


@cache
def _server_words(language: str) -> dict[str, str]:
    """Templates of the server's phrases, and its texts without values -> the same in a language."""
    found: dict[str, str] = tables().get(language, {}).get("server", {})
    return found


def said(text: str, language: str) -> str:
    """What the server says, in a language: as `said` of `static/js/page/words.js`, for what the server draws itself."""
    words = _server_words(language)
    if not isinstance(text, Phrase):
        return words.get(text, text)
    values = {name: _filled(value, language) for name, value in text.values.items()}
    return words.get(text.template, text.template).format_map(values) if values else words.get(text, text)


def said_value(text: str, language: str) -> str:
    """A cell or name of what the server draws: a figure such as 8,000, or words of the server."""
    return _filled(text, language) if _FIGURES.fullmatch(text) else said(text, language)


def _filled(value: str, language: str) -> str:
    """What stands in a sentence: figures, a phrase, or a name, which stays as it is."""
    if isinstance(value, Phrase):
        return said(value, language)
    return value.translate(_SIGNS) if language in _DECIMAL_COMMA and _FIGURES.fullmatch(value) else value


word = gr.I18n()  # key -> a placeholder that Gradio replaces by the word in the browser's language
