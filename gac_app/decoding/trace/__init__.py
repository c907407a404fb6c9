"""What a session yields: events, the trace of each step, their JSON and digest. Does not know how a token was
chosen.
"""

from gac_app.decoding.trace.digest import StepDigest
from gac_app.decoding.trace.events import (
    Candidate,
    Event,
    FinishedEvent,
    FinishReason,
    MemberTrace,
    MemberUsage,
    StepOutline,
    StepTrace,
    TokenEvent,
    is_changed,
)
from gac_app.decoding.trace.serialise import (
    Json,
    outline_from_json,
    outline_to_json,
    round_float,
    token_from_json,
    token_to_json,
    usage_from_json,
    usage_to_json,
)

__all__ = [
    "Candidate",
    "Event",
    "FinishReason",
    "FinishedEvent",
    "Json",
    "MemberTrace",
    "MemberUsage",
    "StepDigest",
    "StepOutline",
    "StepTrace",
    "TokenEvent",
    "is_changed",
    "outline_from_json",
    "outline_to_json",
    "round_float",
    "token_from_json",
    "token_to_json",
    "usage_from_json",
    "usage_to_json",
]
