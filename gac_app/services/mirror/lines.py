"""The lines of `export`, checked when they are written and when they come in. No reason for a refusal quotes one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from gac_app.errors import RequestError
from gac_app.services.mirror.line_shapes import BattleLine, DamagedRun, Deletion, RunLine
from gac_app.storage import RunStatus
from gac_app.validation import depth_of, path_of

MAX_LINE_BYTES = 256 * 2**20  # four answers of 32,768 tokens fit
_MAX_DEPTH = 24
_MAX_REASON_CHARS = 160

Line = dict[str, Any]  # a run, a damaged run, a battle, or what is deleted

_RUN, _DAMAGED, _BATTLE, _DELETION = map(TypeAdapter[Line], (RunLine, DamagedRun, BattleLine, Deletion))


def written_line(line: Mapping[str, Any]) -> str:
    """A line's text, with its end. Raises RequestError if it would be refused when it comes in."""
    return json.dumps(_checked(dict(line))) + "\n"


def checked_before(text: bytes) -> Line:
    """As `line_of`, of a text that it has taken. Battles, which the check does not change, are not checked again."""
    line: Line = orjson.loads(text)
    return _of_today(line) if "battle_id" in line else _checked(line)


def line_of(text: bytes) -> Line:
    """The line in a text. Raises RequestError; the message is the reason."""
    if len(text) > MAX_LINE_BYTES:
        raise RequestError("line", f"is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        value = orjson.loads(text)  # refuses NaN, and numbers that are infinite
    except orjson.JSONDecodeError as error:
        raise RequestError("line", f"invalid JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise RequestError("line", "expected an object: a run, a battle, or what is deleted")
    return _checked(value)


def deleted_in(line: Line) -> list[str]:
    """The ids in a line of deleted ones."""
    gone = line["deleted"]
    return gone if isinstance(gone, list) else [*gone["runs"], *gone["battles"]]


def _checked(line: Line) -> Line:
    if depth_of(line, _MAX_DEPTH + 1) > _MAX_DEPTH:
        raise RequestError("line", f"is nested more than {_MAX_DEPTH} levels deep")
    try:
        if "battle_id" in line:
            return _BATTLE.validate_python(_of_today(line))
        if "deleted" in line:
            return _DELETION.validate_python(line)
        return (_DAMAGED if line.get("status") == RunStatus.DAMAGED else _RUN).validate_python(line)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        reason = f"{path_of(first['loc'])}: {first['msg'].removeprefix('Value error, ')}"
        printable = "".join(char if char.isprintable() else "?" for char in reason)
        raise RequestError("line", printable[:_MAX_REASON_CHARS]) from None


def _of_today(battle: Line) -> Line:
    """A battle's line of any release without what is gone since 1.1: a run, votes that were taken back, and remarks but
    the last. Raises RequestError if a vote on a run implied the battle.
    """
    if battle.pop("run_id", None) is not None:
        reason = "a vote on Compare implied this battle, as up to release 1.1; its run has the vote"
        raise RequestError("run_id", reason)
    rows: Any = battle.get("judgements")
    is_list = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    kinds = [row.get("kind") for row in rows] if is_list else []
    if "undo" in kinds or kinds.count("remark") > 1:
        last_at = {kind: at for at, kind in enumerate(kinds)}
        since = {"undo": len(kinds), "vote": last_at.get("undo", -1) + 1, "remark": last_at.get("remark", 0)}
        left = (at for at, kind in enumerate(kinds) if at >= since.get(kind, 0))
        battle["judgements"] = [{**rows[at], "position": position} for position, at in enumerate(left)]
    return battle
