"""Base of values that pydantic checks once, and its error messages in one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

_GENERIC = ("dict[", "literal[", "tuple[", "list[", "constrained-")
_TYPES = ("str", "int", "float", "bool")
_MAX_QUOTED_CHARS = 80


class Frozen(BaseModel):
    """A frozen value without unknown keys and infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def path_of(location: tuple[int | str, ...]) -> str:
    """The place of a wrong value, as keys joined by dots."""
    # Union branches (`weights.dict[str,float]`) name types, not keys, so they are left out.
    return ".".join(str(part) for part in location if not str(part).startswith(_GENERIC) and part not in _TYPES)


def message_of(item: Any) -> str:
    """pydantic's message for one of `ValidationError.errors()`."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] != "value_error" and isinstance(item.get("input"), str | int | float | bool | None):
        message += f" (got {shortened(repr(item['input']))})"
    return message


def shortened(text: str, most: int = _MAX_QUOTED_CHARS) -> str:
    """The text, cut to what a message may quote."""
    return text if len(text) <= most else f"{text[:most]}..."
