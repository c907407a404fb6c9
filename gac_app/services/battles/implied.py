"""Battles implied by a vote on Compare: one for each pair of answers, not blind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from gac_app.arena.contestants import Contestant, contestants_of, name_of
from gac_app.arena.language import language_of
from gac_app.arena.outcomes import SIDES, Kind, Origin, Outcome, Side
from gac_app.config import Config
from gac_app.services.battles.records import answer_record, side_facts, side_record
from gac_app.services.queue.shares import client_today
from gac_app.services.runs.history import Implies
from gac_app.services.runs.runs import config_hash_of
from gac_app.services.runs.views import BESIDE, ENSEMBLE, RunView, StreamView, alone_in, is_over
from gac_app.storage import JudgedBattle, NewBattle, NewJudgement, implied_id

_ALL = {"tie": Outcome.TIE, "all-bad": Outcome.BOTH_BAD}


def implied_outcomes(outcome: str, streams: Sequence[str]) -> dict[tuple[str, str], Outcome]:
    """Outcomes by pair of streams: the best answer beats every other; a tie or "all bad" holds for every pair.

    Nothing is known about pairs of beaten answers.
    """
    if outcome in _ALL:
        return dict.fromkeys(combinations(streams, 2), _ALL[outcome])
    pairs = [pair for pair in combinations(streams, 2) if outcome in pair]
    return {pair: Outcome.LEFT if pair[0] == outcome else Outcome.RIGHT for pair in pairs}


def implied_by(config: Config, versions: Mapping[str, str]) -> Implies:
    """Gives the battles implied by a vote on a run, with their votes, one for each pair."""
    return partial(_implied, contestants_of(config), config_hash_of(config), versions)


def _implied(
    contestants: Sequence[Contestant],
    config_hash: str,
    versions: Mapping[str, str],
    visitor_key: str,
    run: RunView,
    beside: RunView | None,
    outcome: str,
    client: str,
) -> list[JudgedBattle]:
    language, found = language_of(run.prompt), []
    for pair, said in _outcomes(run, beside, outcome).items():
        sides = {side: _side(key, run, beside, contestants) for side, key in zip(SIDES, pair, strict=True)}
        names = [sides[side].record["contestant"] for side in SIDES]
        if names[0] == names[1]:  # settings that no name tells apart
            continue
        answers: dict[str, Any] = {side: answer_record(one.stream) for side, one in sides.items()}
        turn = {"prompt": run.prompt, **answers}
        records = {side: one.record for side, one in sides.items()}
        battle = NewBattle(
            battle_id=implied_id(run.id, pair),
            visitor_key=visitor_key,
            run_id=run.id,
            left=names[0],
            right=names[1],
            body={"sides": records, "turns": [turn], "versions": dict(versions), "consent": False},
            origin=Origin.COMPARE,
            is_blind=False,
            language=language,
            config_hash=config_hash,
            client=client_today(client),
            status="answered",
        )
        judgement = NewJudgement(position=0, kind=Kind.VOTE, outcome=said, facts=_facts(run, sides))
        found.append((battle, judgement))
    return found


def _outcomes(run: RunView, beside: RunView | None, outcome: str) -> dict[tuple[str, str], Outcome]:
    """As `implied_outcomes`, with the ensemble's two answers as one more pair."""
    pairs = implied_outcomes(outcome, list(run.streams)) if outcome != BESIDE else {}
    if beside and outcome in (ENSEMBLE, BESIDE, *_ALL):
        pairs |= implied_outcomes(outcome, [ENSEMBLE, BESIDE])
    return pairs


@dataclass(frozen=True, slots=True)
class _Side:
    """An answer in a battle. `record`: who gave it."""

    stream: StreamView
    record: dict[str, Any]


def _side(key: str, run: RunView, beside: RunView | None, contestants: Sequence[Contestant]) -> _Side:
    if key == BESIDE and beside:
        key, run = ENSEMBLE, beside
    member = alone_in(key)
    return _Side(run.streams[key], side_record(name_of(member, run.settings, contestants), member, run.settings))


def _facts(run: RunView, sides: Mapping[Side, _Side]) -> dict[str, Any]:
    shown = {side: len(one.stream.text) for side, one in sides.items()}
    costs: dict[str, Any] = {side: side_facts([one.stream], shown[side]) for side, one in sides.items()}
    return {"turn": len(run.turns) + 1, "early": not is_over(run), "shown": shown, **costs, "flags": []}
