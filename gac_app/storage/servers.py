"""Tracks the processes that run models on this database. A dead server's runs are interrupted, and its battles can no
longer be judged.

A server reports every `BEAT_S` that it is alive, and counts as dead after a silence of `SILENT_S`. A server on this
machine counts as dead as soon as its process is gone, so a restarted server finds its runs marked right away.
"""

from __future__ import annotations

import platform
import threading
import uuid
from datetime import timedelta
from pathlib import Path

import psutil
from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from gac_app.storage.battles.tables import Battle
from gac_app.storage.database.engine import REFUSALS, storage_errors, writing
from gac_app.storage.database.tables import Server, utc_now
from gac_app.storage.runs.records import RunStatus
from gac_app.storage.runs.tables import Run

BEAT_S = 15.0
SILENT_S = 60.0
STOP_S = 1.0
_SAME_START_S = 2.0  # a process's start is given in ticks since boot, whose time is an estimate


class Heartbeat:
    """Reports from a thread that this server is alive, and interrupts runs of dead servers, until `stop`.

    Raises:
        StorageError: the database cannot be written.
    """

    def __init__(self, engine: Engine) -> None:
        self.server_id = uuid.uuid4().hex
        self._engine = engine
        self._stopped = threading.Event()
        with storage_errors(engine), writing(engine) as session:
            self._beat(session)
        self._thread = threading.Thread(target=self._run, name="gac-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reporting."""
        self._stopped.set()
        self._thread.join(STOP_S)

    def leave(self, session: Session) -> None:
        """This server's last write: interrupt its remaining runs."""
        session.execute(delete(Server).where(Server.id == self.server_id))
        _interrupt_stale(session)

    def _run(self) -> None:
        while not self._stopped.wait(BEAT_S):
            try:
                with writing(self._engine) as session:
                    self._beat(session)
            except REFUSALS:
                continue  # other writes fail too, and report it

    def _beat(self, session: Session) -> None:
        me = psutil.Process()
        session.merge(
            Server(
                id=self.server_id,
                host=_host(),
                pid=me.pid,
                started_s=me.create_time(),
                seen_at=utc_now(),
            )
        )
        session.flush()
        dead = [server.id for server in session.scalars(select(Server)) if _is_dead(server)]
        session.execute(delete(Server).where(Server.id.in_(dead)))
        _interrupt_stale(session)


def _is_dead(server: Server) -> bool:
    if utc_now() - server.seen_at > timedelta(seconds=SILENT_S):
        return True
    return server.host == _host() and not _is_process(server.pid, server.started_s)


def _host() -> str:
    """This machine or container, within which process ids are unique."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return f"{platform.node()} {space}"[:255]


def _is_process(pid: int, started_s: float) -> bool:
    """Whether a process of this machine is alive, and its id was not reused."""
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and abs(process.create_time() - started_s) < _SAME_START_S
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _interrupt_stale(session: Session) -> None:
    """Interrupt runs whose server is dead or unknown, and battles whose server is dead."""
    session.execute(update(Battle).where(Battle.server_id.not_in(select(Server.id))).values(server_id=None))
    is_lost = or_(Run.server_id.is_(None), Run.server_id.not_in(select(Server.id)))
    stale = update(Run).where(Run.status == RunStatus.RUNNING, is_lost)
    session.execute(stale.values(status=RunStatus.INTERRUPTED, finished_at=utc_now(), server_id=None))
