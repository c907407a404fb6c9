"""The stored form of a battle, JSON-able: its sides and answers, which are encrypted, and a vote's facts, which are
not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gac_app.arena.rating.style import FEATURES, style_of
from gac_app.services.runs.views import StreamView
from gac_app.settings import Settings

# What an answer's end and its record call by the same name.
END_FACTS = (
    *("detail", "num_tokens", "num_ensembled", "num_replayed"),
    *("ttft_s", "seconds", "digest", "is_reproducible"),
)


def side_record(name: str, member: str | None, settings: Settings) -> dict[str, Any]:
    """The contestant of a side."""
    return {"contestant": name, "member": member, "settings": settings.model_dump(mode="json")}


def answer_record(stream: StreamView) -> dict[str, Any]:
    """One answer: its messages, text and cost."""
    fed = {"messages": [asdict(message) for message in stream.messages], "text": stream.text}
    end = stream.finished
    if end is None:
        return fed
    num_forwards = sum(usage.num_forwards for usage in end.members.values())
    told = {name: getattr(end, name) for name in END_FACTS}
    return {**fed, "finish_reason": end.reason.value, "num_forwards": num_forwards, **told}


def side_facts(streams: Sequence[StreamView], num_shown: int) -> dict[str, Any]:
    """The plain facts of a side: style and costs of its answers.

    Args:
        streams: of all turns.
        num_shown: characters of the last answer that were shown.
    """
    return {**_look(streams, num_shown), **_cost(streams)}


def _look(streams: Sequence[StreamView], num_shown: int) -> dict[str, int]:
    """The style of a side's shown text."""
    texts = [*(stream.text for stream in streams[:-1]), streams[-1].text[:num_shown]]
    styles = [style_of(text) for text in texts]
    return {feature: sum(style[feature] for style in styles) for feature in FEATURES}


def _cost(streams: Sequence[StreamView]) -> dict[str, float]:
    ends = [stream.finished for stream in streams if stream.finished is not None]
    num_decoded = sum(end.num_decoded for end in ends) or 1
    num_forwards = sum(usage.num_forwards for end in ends for usage in end.members.values())
    seconds = sum(end.seconds for end in ends)
    return {
        "ms_per_token": round(1000 * seconds / num_decoded, 3),
        "passes_per_token": round(num_forwards / num_decoded, 4),
    }
