"""The stored form of a battle, JSON-able: its body, which is encrypted, and the facts of its vote, which are not. A
battle in memory is made of it again, so that any server judges what another one has answered.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from gac_app.arena.contestants import Contestant
from gac_app.arena.outcomes import SIDES, Side
from gac_app.arena.pacing import Pace, Tempo
from gac_app.arena.rating.style import FEATURES, style_of
from gac_app.decoding.trace import FinishedEvent, FinishReason, MemberUsage
from gac_app.errors import NotFoundError, Phrase
from gac_app.services.battles.battles import Battle, BattleRun
from gac_app.services.runs.views import StreamView, run_status
from gac_app.settings import Settings
from gac_app.storage import ANSWERED, StoredBattle

CLOCKS_DIFFER_S = 3600.0  # those of servers, at most; a greater difference means that one was set
# What an answer's end and its record call by the same name.
END_FACTS = (
    *("detail", "num_tokens", "num_ensembled", "num_replayed"),
    *("ttft_s", "seconds", "digest", "is_reproducible"),
)


def body_of(battle: Battle, versions: Mapping[str, str]) -> dict[str, Any]:
    """The whole record."""
    turns = [
        {
            "prompt": turn.prompt,
            **({"shown": turn.num_shown()} if turn.is_stopped else {}),
            **{side: answer_record(turn.streams[side]) for side in SIDES},
        }
        for turn in battle.turns
    ]
    return {
        "sides": {side: side_record(battle.pair[side]) for side in SIDES},
        "turns": turns,
        "versions": dict(versions),
        "consent": battle.has_consent,
        "shown_at": battle.last.shown_at(),
    }


def facts_of(battle: Battle, shown: Mapping[Side, int]) -> dict[str, Any]:
    """The facts of a vote: only numbers."""
    streams = {side: [turn.streams[side] for turn in battle.turns] for side in SIDES}
    return {
        "turn": len(battle.turns),
        "early": not battle.last.is_shown_whole(shown),
        "stopped": any(turn.is_stopped for turn in battle.turns),
        "seconds": round(battle.last.pace.seconds, 3),
        "shown": dict(shown),
        **{side: side_facts(streams[side], shown[side]) for side in SIDES},
    }


def side_record(one: Contestant) -> dict[str, Any]:
    """The contestant of a side."""
    return {"contestant": one.name, "member": one.member, "settings": one.settings.model_dump(mode="json")}


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
    """The facts of a side: style of its answers, and costs where they are known.

    Args:
        streams: of all turns.
        num_shown: characters of the last answer that were shown.
    """
    styles = [style_of(text) for text in (*(stream.text for stream in streams[:-1]), streams[-1].text[:num_shown])]
    ends = [end for stream in streams if (end := stream.finished) and end.seconds]  # what is broken off is not measured
    num_decoded = sum(end.num_decoded for end in ends)
    totals = {
        "ms_per_token": 1000 * sum(end.seconds for end in ends),
        "passes_per_token": sum(usage.num_forwards for end in ends for usage in end.members.values()),
    }
    return {
        **{feature: sum(style[feature] for style in styles) for feature in FEATURES},
        **({name: round(total / num_decoded, 4) for name, total in totals.items()} if num_decoded else {}),
    }


class OtherVersionError(NotFoundError):
    """Another version of the program wrote a battle, and it has what this one does not know."""


def restored(stored: StoredBattle, owner: str, client: str) -> Battle:
    """A battle that another server has answered, or this one before it ran out of memory for it. It has no steps.

    Args:
        owner, client: as in `Battle`.

    Raises:
        OtherVersionError: it cannot be read.
    """
    try:
        return _restored(stored, owner, client)
    except (KeyError, TypeError, ValueError):
        raise OtherVersionError(
            Phrase("Another version of the program answered this battle. It can be judged on a server of that version.")
        ) from None


def _restored(stored: StoredBattle, owner: str, client: str) -> Battle:
    body = stored.body
    battle = Battle(
        owner=owner,
        pair={side: _contestant(body["sides"][side]) for side in SIDES},
        language=stored.language,
        has_consent=bool(body.get("consent")),
        client=client,
        tempo=Tempo(()),
        id=stored.battle_id,
    )
    for turn in body["turns"]:
        battle.turns.append(_turn(battle, turn))
    began_s = body["shown_at"][0] if "shown_at" in body else datetime.fromisoformat(stored.created_at).timestamp()
    battle.last.pace = Pace.over(battle.tempo, battle.last.pace.num_shown, max(0.0, time.time() - began_s))
    return battle


def is_shown(stored: StoredBattle) -> bool:
    """Whether a battle is answered, and all that its answers ever show has been shown where somebody followed it.
    Earlier, another server that shows it would tell how fast they came.
    """
    if stored.status != ANSWERED:
        return False
    begun_s, shown_s = map(float, stored.body.get("shown_at", (0.0, 0.0)))
    is_set_back = time.time() < begun_s - CLOCKS_DIFFER_S  # else nobody could judge it until that day comes again
    return is_set_back or time.time() >= shown_s


def _contestant(side: Mapping[str, Any]) -> Contestant:
    return Contestant(side["contestant"], side["member"], Settings.model_validate(side["settings"]))


def _turn(battle: Battle, stored: Mapping[str, Any]) -> BattleRun:
    turn = battle.begin_turn(stored["prompt"])
    for side in SIDES:
        turn.streams[side].events.append(_end(stored[side]))
    longest = max(len(stored[side]["text"]) for side in SIDES)
    if "shown" in stored:
        turn.is_stopping.set()
        longest = max(stored["shown"].values())
    turn.pace = Pace.over(battle.tempo, longest, 0.0)
    turn.status = run_status(list(turn.streams.values()))
    turn.over.set()
    return turn


def _end(answer: Mapping[str, Any]) -> FinishedEvent:
    """The end of an answer, from `records.answer_record`."""
    return FinishedEvent(
        reason=FinishReason(answer["finish_reason"]),
        text=answer["text"],
        members={"": MemberUsage(num_forwards=answer["num_forwards"])},
        **{name: answer[name] for name in END_FACTS},
    )
