"""`BattleStore`: battles and their judgements in the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from gac_app.storage.battles import changes, queries, standing_votes
from gac_app.storage.battles.records import StoredBattle
from gac_app.storage.battles.tables import ArenaControls, ClientKey
from gac_app.storage.database.database import Database, reads, writes


def _controls(session: Session) -> bytes:
    """What the operator has set, as JSON."""
    row = session.get(ArenaControls, 1)
    return row.body if row else b"{}"


def _set_controls(session: Session, body: bytes) -> None:
    """Replace what the operator has set."""
    session.merge(ArenaControls(id=1, body=body))


def _client_keys(session: Session, period: int) -> dict[int, bytes]:
    """The keys by which addresses are named in a period and the next one. Older ones are deleted."""
    session.execute(delete(ClientKey).where(ClientKey.period < period - 1))
    keys = {row.period: row.key for row in session.scalars(select(ClientKey))}
    for new in {period - 1, period, period + 1} - keys.keys():
        keys[new] = secrets.token_bytes(32)
        session.add(ClientKey(period=new, key=keys[new]))
    return keys


class BattleStore:
    """The battles of a database. Methods are like those of `Store`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    start = writes(changes.start)
    update = writes(changes.update)
    judge = writes(changes.judge)
    give_verdict = writes(changes.give_verdict)
    client_keys = writes(_client_keys)
    controls = reads(_controls)
    set_controls = writes(_set_controls)

    load = reads(queries.load)
    holding = reads(queries.holding)
    newest = reads(queries.newest)
    find = reads(queries.of_id)
    agreed = reads(queries.agreed)
    num_started = reads(queries.num_started)
    num_judgements = reads(queries.num_judgements)
    cast = reads(queries.cast)
    verdicts = reads(queries.verdicts)

    def export(self, visitor_key: str = "") -> Iterator[StoredBattle]:
        """All battles of one visitor or of everybody, oldest first, without open ones."""
        return queries.export(self.database.engine, visitor_key)

    votes = reads(standing_votes.votes)
    votes_version = reads(standing_votes.version)
    news = reads(standing_votes.news)
