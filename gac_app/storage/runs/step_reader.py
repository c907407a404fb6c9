"""Reads the steps of a stored answer when they are looked at. A run that was deleted meanwhile is missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Engine, select

from gac_app.decoding.trace import TokenEvent
from gac_app.errors import NotFoundError
from gac_app.storage.database.engine import reading
from gac_app.storage.database.sealing import unseal
from gac_app.storage.database.tables import Answer, Outline, Run, RunKey, Trace
from gac_app.storage.runs.traces import StoredOutline, StoredSteps, pack_events, stored_events


class StepReader:
    """Each look is a short transaction in the caller's thread. Raises NotFoundError, DamagedError, StorageError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def events(self, answer_id: str) -> StoredSteps[TokenEvent]:
        """The steps of an answer."""
        return stored_events(lambda: self._packed(Trace, answer_id) or pack_events(()))

    def outline(self, answer_id: str, events: Sequence[TokenEvent]) -> StoredOutline:
        """The outline of an answer with these steps."""
        return StoredOutline(partial(self._packed, Outline, answer_id), events)

    def _packed(self, table: type[Trace | Outline], answer_id: str) -> bytes | None:
        query = (
            select(RunKey.key, table.steps)
            .select_from(Answer)
            .join(Run)
            .outerjoin(RunKey, RunKey.id == Run.key_id)
            .outerjoin(table, table.answer_id == Answer.id)
            .where(Answer.id == answer_id)
        )
        with reading(self._engine) as session:
            found = session.execute(query).one_or_none()
        if found is None:
            raise NotFoundError("there is no such run")
        key, steps = found
        return None if steps is None else unseal(key, steps)
