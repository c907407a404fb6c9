"""Decoding events <-> JSON-able values, for the database and for exports.

The only loss is precision: probabilities and seconds keep six digits. Bytes are hexadecimal, candidates are `[token_id,
hex, prob]`, and values that most steps share are left out: empty `spellings`, `dropped`, `evidence`, `drawn`; false
`is_partial`, `is_forced`, `is_drafted`; true `is_shared`. An outline is `[text, token, flags, winner, prob,
gate_confidence]`; its token is null if the text has the same bytes.
"""

from __future__ import annotations

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
    data: Json = {
        "position": step.position,
        "token_id": step.token_id,
        "token": step.token.hex(),
        "prob": round_float(step.prob),
        "top": _candidates_to_json(step.top),
        "gate_confidence": round_float(step.gate_confidence),
        "is_ensembled": step.is_ensembled,
        "winner": step.winner,
        "members": [_member_to_json(member) for member in step.members],
    }
    if step.spellings:
        data["spellings"] = {name: [piece.hex() for piece in pieces] for name, pieces in step.spellings.items()}
    if step.dropped:
        data["dropped"] = list(step.dropped)
    if step.is_partial:
        data["is_partial"] = True
    if step.is_partial or not step.is_shared:
        data["is_shared"] = step.is_shared
    if step.evidence:
        data["evidence"] = {name: round_float(prob) for name, prob in step.evidence.items()}
    if step.is_forced:
        data["is_forced"] = True
    if step.is_drafted:
        data["is_drafted"] = True
    if step.drawn:
        data["drawn"] = step.drawn
    return data


def step_from_json(data: Json) -> StepTrace:
    spellings = data.get("spellings", {})
    return StepTrace(
        position=data["position"],
        token_id=data["token_id"],
        token=bytes.fromhex(data["token"]),
        prob=data["prob"],
        top=_candidates_from_json(data["top"]),
        gate_confidence=data["gate_confidence"],
        is_ensembled=data["is_ensembled"],
        winner=data["winner"],
        members=tuple(_member_from_json(member) for member in data["members"]),
        spellings={name: tuple(bytes.fromhex(piece) for piece in pieces) for name, pieces in spellings.items()},
        dropped=tuple(data.get("dropped", ())),
        is_partial=data.get("is_partial", False),
        is_shared=data.get("is_shared", True),
        evidence=data.get("evidence", {}),
        is_forced=data.get("is_forced", False),
        is_drafted=data.get("is_drafted", False),
        drawn=data.get("drawn", ""),
    )


def token_to_json(event: TokenEvent) -> Json:
    """The step's fields and `text`."""
    return {"text": event.text, **step_to_json(event.step)}


def token_from_json(data: Json) -> TokenEvent:
    return TokenEvent(text=data["text"], step=step_from_json(data))


def outline_to_json(outline: StepOutline) -> list[Any]:
    text, token = outline.text, outline.token
    flags = outline.is_ensembled | outline.is_forced << 1 | outline.is_partial << 2 | outline.is_drawn << 3
    written = None if text.encode("utf-8", "replace") == token else token.hex()
    return [text, written, flags, outline.winner, round_float(outline.prob), round_float(outline.gate_confidence)]


def outline_from_json(data: list[Any]) -> StepOutline:
    text, written, flags, winner, prob, confidence = data
    token = text.encode() if written is None else bytes.fromhex(written)
    is_ensembled, is_forced, is_partial, is_drawn = flags & 1 > 0, flags & 2 > 0, flags & 4 > 0, flags & 8 > 0
    return StepOutline(text, token, is_ensembled, is_forced, is_partial, is_drawn, winner, prob, confidence)


def usage_to_json(members: dict[str, MemberUsage]) -> Json:
    """Member name -> its counts."""
    return {
        name: {
            "num_forwards": usage.num_forwards,
            "num_tokens_read": usage.num_tokens_read,
            "seconds": round_float(usage.seconds),
        }
        for name, usage in members.items()
    }


def usage_from_json(data: Json) -> dict[str, MemberUsage]:
    return {name: MemberUsage(**usage) for name, usage in data.items()}


def _member_to_json(trace: MemberTrace) -> Json:
    return {
        "member": trace.member,
        "weight": round_float(trace.weight),
        "prob": round_float(trace.prob),
        "rank": trace.rank,
        "top": _candidates_to_json(trace.top),
        "num_read": trace.num_read,
        "seconds": round_float(trace.seconds),
    }


def _member_from_json(data: Json) -> MemberTrace:
    return MemberTrace(**{**data, "top": _candidates_from_json(data["top"])})


def _candidates_to_json(candidates: tuple[Candidate, ...]) -> list[list[Any]]:
    return [[item.token_id, item.token.hex(), round_float(item.prob)] for item in candidates]


def _candidates_from_json(data: list[list[Any]]) -> tuple[Candidate, ...]:
    return tuple(Candidate(token_id, bytes.fromhex(token), prob) for token_id, token, prob in data)
