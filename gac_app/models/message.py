"""A chat's messages. Separate from `base`, so that they can be used without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. `content` is plain text, whatever it looks like."""

    role: Role
    content: str
