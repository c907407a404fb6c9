"""Values that are checked once, by pydantic, and what it says of those that do not fit, in one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

_GENERIC = ("dict[", "literal[", "tuple[")
_TYPES = ("str", "int", "float", "bool")


class Frozen(BaseModel):
    """A value: no unknown keys, no changes, no infinities."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def path_of(location: tuple[int | str, ...]) -> str:
    """Where pydantic found a value that does not fit, as keys with dots between."""
    # Union branches (`weights.dict[str,float]`) name types, not keys: they help nobody.
    return ".".join(str(part) for part in location if not str(part).startswith(_GENERIC) and part not in _TYPES)


def message_of(item: Any) -> str:
    """What pydantic says of such a value, one of `ValidationError.errors()`."""
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "unknown key"
    elif item["type"] != "value_error" and isinstance(item.get("input"), str | int | float | bool | None):
        message += f" (got {item['input']!r})"
    return message
