"""What a study found, as values: the terminal, the page and files all show the same."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows under columns. The first column names the row, the others hold figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study's outcome.

    Attributes:
        study: its name.
        heading: what it was put to: "triviaqa: 300 questions".
        data: all figures, of JSON's own types.
        remarks: what follows from the tables, a sentence each.
        plot: an SVG document; "" where there is none.
        failure: where answers failed and count as wrong: which, and why.
    """

    study: str
    heading: str
    tables: Sequence[Table]
    data: Mapping[str, Any]
    remarks: Sequence[str] = ()
    plot: str = ""
    failure: str = ""


_SIGNED_FIGURE = re.compile(r"[+-]\d+(\.\d+)?%?( \(p \d[\d.e-]*\))?")  # as in "+2.0% (p 0.34)"


def to_csv(tables: Sequence[Table]) -> str:
    """The tables one under the other, an empty line between. No cell is a formula to a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, table in enumerate(tables):
        if number:
            writer.writerow([])
        if table.title:
            writer.writerow([_harmless(table.title)])
        writer.writerows([_harmless(cell) for cell in row] for row in (table.columns, *table.rows))
    return out.getvalue()


def _harmless(cell: str) -> str:
    """A figure with its sign stays one; anything else that a spreadsheet would compute gets an apostrophe."""
    is_formula = cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _SIGNED_FIGURE.fullmatch(cell)
    return f"'{cell}" if is_formula else cell
