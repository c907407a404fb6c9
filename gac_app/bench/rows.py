"""The result of a measurement: rows with a figure and its target; and a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, Self

from rich.table import Table

from gac_app.errors import GacError

_UNSURE = 0.05  # of all measurements, the share in which a median lies outside its interval


class NotMeasured(GacError):  # noqa: N818 (not an error: this machine or configuration cannot measure it)
    """A measurement is impossible here; the message says what is missing."""


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


def interval_of(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of the median: order statistics, since each value is above it or below by the toss of a coin. The whole
    range of fewer than six values, which are too few for such bounds.
    """
    from scipy.stats import binom

    ordered, num = sorted(values), len(values)
    outer = max(0, int(binom.ppf(_UNSURE / 2, num, 0.5)) - 1)
    return ordered[outer], ordered[num - 1 - outer]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        value: None = not measured, or failed.
        interval: of the median that `value` is; None = a single figure.
        unit: "" = a ratio.
        note: the figures behind it, or why it is missing.
    """

    name: str
    value: float | None
    unit: str = ""
    target: Target | None = None
    note: str = ""
    interval: tuple[float, float] | None = None
    is_failed: bool = False  # the measurement failed

    @classmethod
    def of(
        cls, name: str, values: Sequence[float], unit: str = "", target: Target | None = None, note: str = ""
    ) -> Self:
        """The median of some values."""
        return cls(name, median(values), unit, target, note, interval_of(values))

    @classmethod
    def ratio(
        cls, name: str, ours: Sequence[float], theirs: Sequence[float], target: Target | None = None, note: str = ""
    ) -> Self:
        """The median of `ours` ÷ `theirs`; each pair was measured one right after the other."""
        return cls.of(name, [a / b for a, b in zip(ours, theirs, strict=True)], "", target, note)

    @property
    def verdict(self) -> Literal["met", "missed", "open", "failed", ""]:
        """Missed only where the whole interval is beyond the target; open where only the median is."""
        if self.is_failed:
            return "failed"
        if self.value is None or self.target is None:
            return ""
        if self.target.is_met(self.value):
            return "met"
        return "open" if self.interval and any(map(self.target.is_met, self.interval)) else "missed"

    def as_json(self) -> dict[str, Any]:
        target = str(self.target) if self.target else None
        shown = {name: value for name, value in asdict(self).items() if name != "is_failed"}
        return {**shown, "target": target, "verdict": self.verdict}

    def __str__(self) -> str:
        if self.value is None:
            return "-"
        told = f" ({self.interval[0]:.3g} to {self.interval[1]:.3g})" if self.interval else ""
        return f"{self.value:.3f}{told} {self.unit}".strip()


def as_table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    table = Table("row", "median and interval", "target", "verdict", "figures")
    for row in rows:
        table.add_row(row.name, str(row), str(row.target or ""), row.verdict or "-", row.note)
    return table
