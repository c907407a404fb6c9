"""How many examples a law gets whose every example takes long, and values that a setting may have."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import settings
from pydantic import ValidationError

from gac_app.settings import Settings

FEW = settings(max_examples=settings().max_examples // 2)  # half of what the chosen profile gives other laws


def another_value(name: str) -> Any:
    """A value of a setting, a number, that is not its default."""
    default = Settings.model_fields[name].default
    for value in (default + 1, default + 0.1, default - 0.1):
        with suppress(ValidationError):
            Settings(**{name: value})
            return value
    raise AssertionError(f"another value of {name}?")
