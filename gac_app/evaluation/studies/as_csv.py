"""Tables as CSV: figures become numbers, and values in brackets get columns of their own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from gac_app.evaluation.studies.result import NOT_KNOWN, Table
from gac_app.spreadsheet import harmless

_N = r"([+-]?[\d,]+(?:\.\d+)?(?:e[+-]?\d+)?)"
# Forms of a column's cells, and the names of the numbers in them. Shares become 0 to 1.
_FORMS = (
    (re.compile(rf"{_N}% \({_N}% to {_N}%\)"), ("", " low", " high"), (0.01, 0.01, 0.01)),
    (re.compile(rf"{_N}% \(p {_N}\)"), ("", " p"), (0.01, 1)),
    (re.compile(rf"{_N}% of {_N}"), ("", " of"), (0.01, 1)),
    (re.compile(rf"{_N} \({_N}\)"), ("", " by chance"), (1, 1)),
    (re.compile(rf"{_N}%"), ("",), (0.01,)),
    (re.compile(_N), ("",), (1,)),
)


def to_csv(tables: Sequence[Table]) -> str:
    """The tables, separated by empty lines. No cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, table in enumerate(tables):
        if number:
            writer.writerow([])
        if table.title:
            writer.writerow([harmless(table.title)])
        columns = [
            column
            for index, name in enumerate(table.columns)
            for column in _columns(name, [r[index] for r in table.rows])
        ]
        writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


def _columns(name: str, cells: Sequence[str]) -> list[list[str]]:
    """A column of a table as one or more CSV columns, each with its heading."""
    known = [cell for cell in cells if cell not in ("", NOT_KNOWN)]
    for form, endings, factors in _FORMS if known else ():
        matches = [form.fullmatch(cell) for cell in cells]
        if sum(map(bool, matches)) == len(known):
            heading = name.removesuffix(" (95 %)")
            return [
                [harmless(heading + ending), *(_number(match[group], factor) if match else "" for match in matches)]
                for group, (ending, factor) in enumerate(zip(endings, factors, strict=True), start=1)
            ]
    heading = name if known else name.removesuffix(" (95 %)")
    return [[harmless(cell) for cell in (heading, *("" if cell == NOT_KNOWN else cell for cell in cells))]]


def _number(text: str, factor: float) -> str:
    return f"{float(text.replace(',', '')) * factor:.10g}"
