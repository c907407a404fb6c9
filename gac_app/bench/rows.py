"""The result of a measurement: rows with a figure and its target; and a report of them as JSON, table and file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

_MARKS = {True: "yes", False: "no", None: "-"}


class NotMeasured(Exception):  # noqa: N818 (not an error: this machine or configuration cannot measure it)
    """A measurement is impossible here; the message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Target:
    """The bound for a figure.

    Example: `str(Target("<=", 1.08))` is "<= 1.08".
    """

    sign: Literal["<=", ">="]
    limit: float

    def is_met(self, value: float) -> bool:
        return value <= self.limit if self.sign == "<=" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.sign} {self.limit:.4g}"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table."""

    name: str
    value: float | None  # None = not measured, or failed
    unit: str = ""  # "" = a ratio
    target: Target | None = None
    note: str = ""  # the figures behind it, or why it is missing
    is_failed: bool = False  # the measurement failed

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None if nothing was measured."""
        if self.is_failed:
            return False
        if self.value is None or self.target is None:
            return None
        return self.target.is_met(self.value)

    def as_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["is_failed"]
        return {**fields, "target": str(self.target) if self.target else None, "ok": self.ok}


def as_table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    table = Table("row", "value", "target", "met", "figures")
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.3f} {row.unit}".strip()
        table.add_row(row.name, value, str(row.target or ""), _MARKS[row.ok], row.note)
    return table


def save(report: dict[str, Any], cache_dir: Path) -> Path:
    """Write `{"machine": {...}, "rows": [...]}` into the cache, named by its date. Returns its path."""
    folder = cache_dir / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report['machine']['date'].replace(':', '-').removesuffix('+00-00')}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return path
