"""Prompts of a batch, from JSON Lines, CSV or plain lines."""

from __future__ import annotations

from typing import Any

import orjson

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.errors import Phrase, RequestError, in_line, too_long
from gac_app.evaluation.tasks.given_text import csv_headings, csv_rows

_KEYS = ("prompt", "question", "instruction", "text", "input")  # keys of a prompt; the first one found counts


def parse_prompts(text: str, max_prompts: int) -> list[str]:
    """The prompts of a text: JSON Lines of strings or objects, CSV with a heading "prompt", or a prompt a line.

    Raises:
        RequestError: a line is wrong, or there are no prompts or too many.
    """
    lines = _from_csv(text) or _from_lines(text)
    found = []
    for number, prompt in lines:
        if len(prompt) > MAX_PROMPT_CHARS:
            raise RequestError("prompts", in_line(number, too_long(len(prompt), MAX_PROMPT_CHARS)))
        found.append(prompt)
    if not found:
        raise RequestError("prompts", Phrase("Enter at least one prompt, one per line."))
    if len(found) > max_prompts:
        raise RequestError(
            "prompts",
            Phrase("{count} prompts are too many: at most {most}.", count=f"{len(found):,}", most=f"{max_prompts:,}"),
        )
    return found


def _from_csv(text: str) -> list[tuple[int, str]]:
    """The prompts of a CSV text; empty if the first line has no heading of a prompt."""
    headings = csv_headings(text)
    key = next((key for key in _KEYS if key in headings), None)
    if key is None:
        return []
    return [(number, prompt) for number, row in csv_rows(text, "prompts") if (prompt := row.get(key) or "").strip()]


def _from_lines(text: str) -> list[tuple[int, str]]:
    is_json = text.lstrip()[:1] in ("{", '"')
    return [
        (number, _from_json(line, number) if is_json else line.strip())
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _from_json(line: str, number: int) -> str:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError as error:  # also for more than 1,024 levels, and for numbers that are not finite
        why = str(error).partition(":")[0]
        raise RequestError("prompts", in_line(number, Phrase("Invalid JSON ({why}).", why=why))) from None
    if isinstance(value, dict):
        value = next((value[key] for key in _KEYS if key in value), None)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(
            "prompts", in_line(number, Phrase("Expected a text under one of {keys}.", keys=", ".join(_KEYS)))
        )
    return value
