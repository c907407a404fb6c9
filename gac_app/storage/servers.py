"""Knows a server from one start to the next, to mark what it was answering when it ended."""

from __future__ import annotations

import uuid

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from gac_app.storage.battles.changes import ANSWERED, CONTINUING, RUNNING
from gac_app.storage.battles.tables import Battle
from gac_app.storage.database.tables import Server, utc_now
from gac_app.storage.runs.records import RunStatus
from gac_app.storage.runs.tables import Run


def started(session: Session, name: str) -> str:
    """The id of the server of this name, which is made at its first start. What it was answering is interrupted."""
    if (server := session.scalar(select(Server).where(Server.name == name))) is None:
        session.add(server := Server(id=uuid.uuid4().hex, name=name))
    interrupt(session, server.id)
    return server.id


def interrupt(session: Session, server_id: str) -> None:
    """Interrupt a server's runs and battles that are under way. Earlier turns of its battles can be judged."""
    held = update(Battle).where(Battle.server_id == server_id)
    session.execute(held.where(Battle.status == RUNNING).values(server_id=None))
    session.execute(held.where(Battle.status == CONTINUING).values(status=ANSWERED))
    own = update(Run).where(Run.status == RunStatus.RUNNING, Run.server_id == server_id)
    session.execute(own.values(status=RunStatus.INTERRUPTED, finished_at=utc_now(), server_id=None))
