"""Reads the steps of a stored answer when they are looked at. A run that was deleted meanwhile is missing.

Each look is a short transaction in the caller's thread. It raises NotFoundError, DamagedError or StorageError.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Engine, select

from gac_app.decoding.trace import StepOutline, TokenEvent
from gac_app.errors import NotFoundError
from gac_app.storage.database.encryption import decrypt
from gac_app.storage.database.engine import reading
from gac_app.storage.database.tables import RunKey
from gac_app.storage.runs.tables import Answer, Outline, Run, Trace
from gac_app.storage.runs.traces import stored_events, stored_outline


def events_of(engine: Engine, answer_id: str) -> Sequence[TokenEvent]:
    """The steps of an answer."""
    return stored_events(partial(_packed, engine, Trace, answer_id))


def outline_of(engine: Engine, answer_id: str) -> Sequence[StepOutline]:
    """The outline of an answer."""
    return stored_outline(partial(_packed, engine, Outline, answer_id))


def _packed(engine: Engine, table: type[Trace | Outline], answer_id: str) -> bytes:
    query = (
        select(RunKey.key, table.steps)
        .select_from(Answer)
        .join(Run)
        .outerjoin(RunKey, RunKey.id == Run.key_id)
        .join(table, table.answer_id == Answer.id)
        .where(Answer.id == answer_id)
    )
    with reading(engine) as session:
        found = session.execute(query).one_or_none()
    if found is None:
        raise NotFoundError("there is no such run")
    return decrypt(*found)
