"""How each member reads a token that it would have cut differently, derived from the steps around it.

A member that is *inside* reads nothing yet: the token is the beginning of a longer one of its own. A later step shows
which one: there, its `spellings` have more bytes than the token, because it reads them *together* with earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gac_app.decoding.trace import StepTrace
from gac_app.ui.compare.spelling import label_of

_MAX_CHARACTER_BYTES = 4  # of UTF-8


def describe_covers(steps: Sequence[StepTrace], position: int) -> dict[str, dict[str, Any]]:
    """The members that spell the token at `position` otherwise.

    Args:
        steps: of the answer so far.

    Returns:
        Member name -> {"kind": "inside", "pieces": of the longer token, "until": the position that completes it}, both
        None if no step tells yet; {"kind": "together", "pieces", "since": the first position read}; or {"kind":
        "spelled", "pieces"}.
    """
    step = steps[position]
    return {name: _cover(name, steps, position) for name in step.spellings}


def _cover(name: str, steps: Sequence[StepTrace], position: int) -> dict[str, Any]:
    pieces = steps[position].spellings[name]
    if not pieces:
        return {"kind": "inside", **_completion(name, steps, position)}
    since = _since(steps, position, sum(map(len, pieces)))
    labels = [label_of(piece) for piece in pieces]
    if since == position:
        return {"kind": "spelled", "pieces": labels}
    return {"kind": "together", "pieces": labels, "since": since}


def _completion(name: str, steps: Sequence[StepTrace], position: int) -> dict[str, Any]:
    """The position that completes a token begun at or before `position`, and its pieces."""
    for later in range(position + 1, len(steps)):
        step = steps[later]
        if name not in {member.member for member in step.members}:
            break  # not asked: it spells what it missed itself, which no step records
        pieces = step.spellings.get(name, (step.token,))
        if pieces:
            if _since(steps, later, sum(map(len, pieces))) > position:
                break
            return {"pieces": [label_of(piece) for piece in pieces], "until": later}
    return {"pieces": None, "until": None}


def _since(steps: Sequence[StepTrace], position: int, num_bytes: int) -> int:
    """The position of the first token of the `num_bytes` bytes that end with the token at `position`."""
    while position > 0 and num_bytes > len(steps[position].token):
        num_bytes -= len(steps[position].token)
        position -= 1
    return position


def character_of(steps: Sequence[StepTrace], position: int) -> str | None:
    """The character that the token at `position` is a part of; None if the token has whole characters, or the character
    is incomplete.
    """
    token = steps[position].token
    if not token or _is_text(token):
        return None
    near = range(max(0, position - _MAX_CHARACTER_BYTES), min(len(steps), position + _MAX_CHARACTER_BYTES + 1))
    text = b"".join(steps[index].token for index in near)
    start = sum(len(steps[index].token) for index in near if index < position)
    at = start if _is_continuation(token[0]) else start + len(token) - 1
    lead = at
    while lead > 0 and _is_continuation(text[lead]):
        lead -= 1
    for size in range(2, _MAX_CHARACTER_BYTES + 1):
        if lead + size > at and _is_text(text[lead : lead + size]):
            return text[lead : lead + size].decode()
    return None


def _is_continuation(byte: int) -> bool:
    return byte & 0xC0 == 0x80


def _is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return True
