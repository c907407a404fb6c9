"""The page's texts, one table per language in `static/words`.

A table has the page's texts by key. Under `server` it has translations of the server's English texts, with `{name}` for
variable parts. Missing texts are shown in English. Gradio gets the tables with the page, as `gr.I18n`, where
`static/js/words.js` reads them.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import gradio as gr

from gac_app.folders import STATIC_DIR

WORDS_DIR = STATIC_DIR / "words"

Table = dict[str, Any]

_COMMAS = re.compile(r", (?![^(]*\))")
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
def _server_words(language: str) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    """What the server says, in a language: texts, and patterns with their texts."""
    exact: dict[str, str] = tables().get(language, {}).get("server", {})
    patterns = [(english, words) for english, words in exact.items() if "{" in english]
    return exact, [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(english)), re.DOTALL), words)
        for english, words in patterns
    ]


def said(text: str, language: str) -> str:
    """What the server says, in a language: as `said` of `static/js/page/words.js`, for what the server draws itself."""
    return _whole(text, language) or _by_parts(text, language) or text


def _whole(text: str, language: str) -> str | None:
    exact, patterns = _server_words(language)
    if text in exact:
        return exact[text]
    for pattern, words in patterns:
        if found := pattern.fullmatch(text):
            return words.format_map({name: said_value(value, language) for name, value in found.groupdict().items()})
    return None


def _by_parts(text: str, language: str) -> str | None:
    """Parts with commas between that are all said, such as a name for people; not the commas in brackets."""
    parts = [_whole(part, language) for part in _COMMAS.split(text)]
    return ", ".join(part for part in parts if part) if len(parts) > 1 and all(parts) else None


def said_value(text: str, language: str) -> str:
    """What stands in a sentence: figures such as 8,000, or other words of the server, or a name."""
    if not _FIGURES.fullmatch(text):
        return said(text, language)
    return text.translate(_SIGNS) if language in _DECIMAL_COMMA else text


word = gr.I18n()  # key -> a placeholder that Gradio replaces by the word in the browser's language
