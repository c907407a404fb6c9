"""Decoding events <-> JSON-able values, for the database and for exports.

The only loss is precision: probabilities and seconds keep six digits. Bytes are hexadecimal, candidates are `[token_id,
hex, prob]`, and fields that have their default are left out. An outline is `[text, token, flags, winner, prob,
gate_confidence]`; its token is null if the text has the same bytes. If the gate's choice is known, it follows: null if
it is the token.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, asdict, fields
from typing import Any

from gac_app.decoding.trace.events import (
    Candidate,
    MemberTrace,
    MemberUsage,
    StepOutline,
    StepTrace,
    TokenEvent,
)

Json = dict[str, Any]


def round_float(value: float) -> float:
    """`value` to six significant digits."""
    return float(f"{value:.6g}")


def step_to_json(step: StepTrace) -> Json:
    return _fields(step)


def step_from_json(data: Json) -> StepTrace:
    given = {
        "token": bytes.fromhex(data["token"]),
        "top": _candidates(data["top"]),
        "members": tuple(MemberTrace(**{**member, "top": _candidates(member["top"])}) for member in data["members"]),
        "spellings": {name: tuple(map(bytes.fromhex, pieces)) for name, pieces in data.get("spellings", {}).items()},
        "dropped": tuple(data.get("dropped", ())),
        "drafted_by": tuple(data["drafted_by"]) if "drafted_by" in data else None,
        "gate_choice": bytes.fromhex(data["gate_choice"]) if "gate_choice" in data else None,
    }
    return StepTrace(**(data | given))


def token_to_json(event: TokenEvent) -> Json:
    """The step's fields and `text`."""
    return {"text": event.text, **step_to_json(event.step)}


def token_from_json(data: Json) -> TokenEvent:
    return TokenEvent(data["text"], step_from_json({name: value for name, value in data.items() if name != "text"}))


def outline_to_json(outline: StepOutline) -> list[Any]:
    text, token = outline.text, outline.token
    flags = outline.is_ensembled | outline.is_forced << 1 | outline.is_partial << 2 | outline.is_drawn << 3
    written = None if text.encode("utf-8", "replace") == token else token.hex()
    probs = round_float(outline.prob), round_float(outline.gate_confidence)
    chosen = outline.gate_choice
    known = [] if chosen is None else [None if chosen == token else chosen.hex()]
    return [text, written, flags, outline.winner, *probs, *known]


def outline_from_json(data: list[Any]) -> StepOutline:
    text, written, flags, winner, prob, confidence, *known = data
    token = text.encode() if written is None else bytes.fromhex(written)
    is_ensembled, is_forced, is_partial, is_drawn = flags & 1 > 0, flags & 2 > 0, flags & 4 > 0, flags & 8 > 0
    chosen = next((token if other is None else bytes.fromhex(other) for other in known), None)
    return StepOutline(text, token, is_ensembled, is_forced, is_partial, is_drawn, winner, prob, confidence, chosen)


def usage_to_json(members: dict[str, MemberUsage]) -> Json:
    """Member name -> its counts."""
    return {name: {field: _plain(value) for field, value in asdict(usage).items()} for name, usage in members.items()}


def usage_from_json(data: Json) -> dict[str, MemberUsage]:
    return {name: MemberUsage(**usage) for name, usage in data.items()}


def _is_default(field: Field[Any], value: Any) -> bool:
    return value == field.default or (field.default_factory is not MISSING and not value)


def _fields(record: StepTrace | MemberTrace) -> Json:
    """Its fields in JSON's types, without those that have their default."""
    values = ((field, getattr(record, field.name)) for field in fields(record))
    return {field.name: _plain(value) for field, value in values if not _is_default(field, value)}


def _plain(value: Any) -> Any:
    """A value in JSON's types."""
    match value:
        case Candidate():  # most of them
            return [value.token_id, value.token.hex(), round_float(value.prob)]
        case float():
            return round_float(value)
        case bytes():
            return value.hex()
        case MemberTrace():
            return _fields(value)
        case tuple():
            return [_plain(part) for part in value]
        case dict():
            return {name: _plain(part) for name, part in value.items()}
    return value


def _candidates(data: list[list[Any]]) -> tuple[Candidate, ...]:
    return tuple(Candidate(token_id, bytes.fromhex(token), prob) for token_id, token, prob in data)
