"""Tracks the processes that run models on this database. What a dead server was answering is interrupted.

A server reports every `BEAT_S` that it is alive, and counts as dead after a silence of `SILENT_S`. A server on this
machine counts as dead as soon as its process is gone, so a restarted server finds its runs marked right away.

Each server measures the silence of others by its own monotonic clock, since their clocks may differ or be set.
"""

from __future__ import annotations

import platform
import time
import uuid
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
from sqlalchemy import Engine, delete, or_, select, update
from sqlalchemy.orm import Session

from gac_app.errors import StorageError
from gac_app.storage.battles.changes import ANSWERED, CONTINUING, RUNNING
from gac_app.storage.battles.tables import Battle
from gac_app.storage.database.engine import REFUSALS, storage_errors, writing
from gac_app.storage.database.tables import Server, utc_now
from gac_app.storage.database.worker import Worker
from gac_app.storage.runs.records import RunStatus
from gac_app.storage.runs.tables import Run

BEAT_S = 15.0
SILENT_S = 60.0
STOP_S = 1.0  # for a report under way
_SAME_START_S = 2.0  # the time of the boot is an estimate


class Heartbeat(Worker):
    """Reports from a thread that this server is alive, and interrupts runs of dead servers, until it is closed.

    Raises:
        StorageError: the database cannot be written.
    """

    def __init__(self, engine: Engine) -> None:
        self.server_id = uuid.uuid4().hex
        self._engine = engine
        self._last: dict[str, tuple[datetime, float]] = {}  # server -> its last report, and when this one first saw it
        with storage_errors(engine):
            self._beat()
        super().__init__("gac-heartbeat", self._beat_again, (BEAT_S, BEAT_S), lambda: BEAT_S)
        self.start()

    def leave(self, session: Session) -> None:
        """This server's last write: interrupt its remaining runs."""
        session.execute(delete(Server).where(Server.id == self.server_id))
        _interrupt_stale(session)

    def _beat_again(self, is_last: bool) -> bool:
        with suppress(StorageError, *REFUSALS):  # other writes fail too, and report it
            if not is_last:
                self._beat()
        return True

    def _beat(self) -> None:
        me = psutil.Process()
        own = Server(id=self.server_id, host=_host(), pid=me.pid, started_s=_started_s(me), seen_at=utc_now())
        with writing(self._engine) as session:
            if self._last and time.monotonic() - self._last[self.server_id][1] > SILENT_S:
                self._last = {}  # the database was away: nobody could be heard of
            session.merge(own)
            session.flush()
            servers = session.scalars(select(Server)).all()
            self._last = {server.id: self._last_of(server) for server in servers}
            dead = [server.id for server in servers if self._is_dead(server)]
            session.execute(delete(Server).where(Server.id.in_(dead)))
            _interrupt_stale(session)

    def _last_of(self, server: Server) -> tuple[datetime, float]:
        last = self._last.get(server.id)
        return last if last and last[0] == server.seen_at else (server.seen_at, time.monotonic())

    def _is_dead(self, server: Server) -> bool:
        if time.monotonic() - self._last[server.id][1] > SILENT_S:
            return True
        return server.host == _host() and not _is_process(server.pid, server.started_s)


def _host() -> str:
    """This machine or container since its boot, from which process ids are unique and their starts are counted. Names
    and namespaces alone are the same on machines made from one image.
    """
    try:
        space = f"{Path('/proc/self/ns/pid').readlink()} {Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
    except OSError:
        space = ""
    return f"{platform.node()} {space} since boot"[-255:]


def _is_process(pid: int, started_s: float) -> bool:
    """Whether a process of this machine is alive, and its id was not reused."""
    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and abs(_started_s(process) - started_s) < _SAME_START_S
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _started_s(process: psutil.Process) -> float:
    """Seconds from the boot to the start of a process, which no setting of the clock moves."""
    return float(process.create_time() - psutil.boot_time())


def _interrupt_stale(session: Session) -> None:
    """Interrupt runs whose server is dead or unknown, and battles that a dead server was answering. Any
    server may judge the earlier turns of those.
    """
    # `> ""`: most battles have no server any more, and the index leads past them.
    lost = update(Battle).where(Battle.server_id > "", Battle.server_id.not_in(select(Server.id)))
    session.execute(lost.where(Battle.status == RUNNING).values(server_id=None))
    session.execute(lost.where(Battle.status == CONTINUING).values(status=ANSWERED))
    is_lost = or_(Run.server_id.is_(None), Run.server_id.not_in(select(Server.id)))
    stale = update(Run).where(Run.status == RunStatus.RUNNING, is_lost)
    session.execute(stale.values(status=RunStatus.INTERRUPTED, finished_at=utc_now(), server_id=None))
