"""Battles implied by a vote on Compare: one for each pair of answers, not blind."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations

from gac_app.arena.contestants import Contestant, contestants_of, name_of
from gac_app.arena.language import language_of
from gac_app.arena.outcomes import Kind, Origin, Outcome
from gac_app.config import Config
from gac_app.services.battles.records import answer_record, side_facts, side_record
from gac_app.services.queue.shares import client_today
from gac_app.services.runs.history import Implies
from gac_app.services.runs.runs import config_hash_of
from gac_app.services.runs.views import RunView, alone_in, is_over
from gac_app.storage import JudgedBattle, NewBattle, NewJudgement

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
    outcome: str,
    client: str,
) -> list[JudgedBattle]:
    language = language_of(run.prompt)
    found = []
    for pair, said in implied_outcomes(outcome, list(run.streams)).items():
        sides = dict(zip(("left", "right"), pair, strict=True))
        streams = {side: run.streams[key] for side, key in sides.items()}
        names = {side: name_of(alone_in(key), run.settings, contestants) for side, key in sides.items()}
        records = {side: side_record(names[side], alone_in(key), run.settings) for side, key in sides.items()}
        turn = {"prompt": run.prompt, **{side: answer_record(stream) for side, stream in streams.items()}}
        battle = NewBattle(
            battle_id=hashlib.blake2b(f"{run.id} {pair}".encode(), digest_size=16).hexdigest(),
            visitor_key=visitor_key,
            run_id=run.id,
            left=names["left"],
            right=names["right"],
            body={"sides": records, "turns": [turn], "versions": dict(versions), "consent": False},
            origin=Origin.COMPARE,
            is_blind=False,
            language=language,
            config_hash=config_hash,
            client=client_today(client),
            status="answered",
        )
        shown = {side: len(stream.text) for side, stream in streams.items()}
        facts = {
            "turn": len(run.turns) + 1,
            "early": not is_over(run),
            "shown": shown,
            **{side: side_facts([stream], shown[side]) for side, stream in streams.items()},
            "flags": [],
        }
        found.append((battle, NewJudgement(position=0, kind=Kind.VOTE, outcome=said, facts=facts)))
    return found
