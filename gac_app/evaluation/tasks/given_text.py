"""Reads given files, and CSV rows in them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from gac_app.errors import RequestError


def read_text(path: Path, field: str) -> str:
    """A file's text. Raises RequestError, naming `field`, if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(field, f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise RequestError(field, f"{path}: is not UTF-8 text") from None


def csv_headings(text: str) -> list[str]:
    """The headings in the first line, if the text is CSV."""
    return text.lstrip("\n").partition("\n")[0].strip().replace('"', "").split(",")


def csv_rows(text: str, field: str) -> list[tuple[int, dict[str, Any]]]:
    """The rows below the headings, by heading, each with its last line number. Raises RequestError for invalid CSV."""
    rows = text.lstrip("\n")
    num_above = len(text) - len(rows)
    reader = csv.DictReader(io.StringIO(rows))
    try:
        return [(num_above + reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise RequestError(field, f"line {num_above + reader.line_num}: invalid CSV ({error})") from None
