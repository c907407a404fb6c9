"""What a measurement gives: rows of a figure and the target it is held to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


class NotMeasured(Exception):  # noqa: N818 (no error: this machine or configuration has nothing to measure it with)
    """A measurement cannot be made here; the message says what is missing and how to get it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be.

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
    """One line of the table."""

    name: str
    value: float | None  # None = not measured, or it failed
    unit: str = ""  # "" = a ratio
    target: Target | None = None
    note: str = ""  # the figures behind it, or why there is none
    is_failed: bool = False  # it should have been measured and broke

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None where nothing was measured."""
        if self.is_failed:
            return False
        if self.value is None or self.target is None:
            return None
        return self.target.is_met(self.value)

    def as_json(self) -> dict[str, Any]:
        fields = asdict(self)
        del fields["is_failed"]
        return {**fields, "target": str(self.target) if self.target else None, "ok": self.ok}
