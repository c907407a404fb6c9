"""Reads given files, and CSV rows in them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gac_app.errors import Phrase, RequestError, in_line
from gac_app.validation import text_of


def read_text(path: Path, field: str) -> str:
    """A file's text. Raises RequestError, naming `field`, if it cannot be read or is not UTF-8."""
    try:
        return text_of(path, math.inf)
    except ValueError as error:
        raise RequestError(field, str(error)) from None


def csv_headings(text: str) -> list[str]:
    """The headings in the first line, if the text is CSV."""
    return [one.strip() for one in text.lstrip("\n").partition("\n")[0].replace('"', "").split(",")]


def csv_rows(text: str, field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows below the headings, by heading, each with its last line number. Raises RequestError for invalid CSV."""
    rows = text.lstrip("\n")
    num_above = len(text) - len(rows)
    reader = csv.DictReader(io.StringIO(rows), skipinitialspace=True)
    try:
        reader.fieldnames = [heading.strip() for heading in reader.fieldnames or ()]
        for row in reader:
            if any(row.get(None, ())):
                raise csv.Error(Phrase("more values than headings; put a text with commas in quotes"))
            yield num_above + reader.line_num, row
    except csv.Error as error:
        raise RequestError(
            field, in_line(num_above + reader.line_num, Phrase("Invalid CSV ({why}).", why=error.args[0]))
        ) from None
