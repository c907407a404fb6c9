"""The result of a measurement: rows with a figure and its target."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


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
