"""The report of a bench: as JSON, as a table, as a file in the cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from gac_app.bench.rows import Row

_MARKS = {True: "yes", False: "no", None: "-"}


def report_of(machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """`{"machine": {...}, "rows": [{"name", "value", "unit", "target", "note", "ok"}]}`."""
    return {"machine": machine, "rows": [row.as_json() for row in rows]}


def as_table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    table = Table("row", "value", "target", "met", "figures")
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3f} {row.unit}".strip()
        table.add_row(row.name, value, str(row.target or ""), _MARKS[row.ok], row.note)
    return table


def save(report: dict[str, Any], cache_dir: Path) -> Path:
    """Write a report into the cache, named by its date. Returns its path."""
    folder = cache_dir / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report['machine']['date'].replace(':', '-').removesuffix('+00-00')}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path
