"""A real Postgres, where one is installed: what is stored, what moves between databases, restarts."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from gac_app.server.host import bare_host
from gac_app.server.routes import health
from gac_app.storage import Store, current_revision, upgrade
from gac_app.storage.database import engine
from gac_app.storage.database.tables import Base
from gac_app.storage.runs import changes
from tests.databases import heads_of_three
from tests.fakes import WAIT_S
from tests.services.battles import test_standings, test_two_servers
from tests.services.house import ALICE, SHORT, House, answer, ended, listed
from tests.services.mirror import test_exports
from tests.services.mirror.test_mirror import Away, stays_deleted
from tests.services.runs import test_two_servers as test_two_servers_of_runs
from tests.storage import test_store, test_text
from tests.storage.battles import test_battles
from tests.storage.runs import test_history
from tests.storage.samples import new_id, new_run

pytestmark = [pytest.mark.process, pytest.mark.slow]


class Postgres:
    """A cluster of its own in a folder of its own, reached by a socket in it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder, self.num_databases = folder, 0
        # Postgres runs as anybody but root.
        nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        self._as: dict[str, Any] = {} if os.geteuid() else nobody
        if self._as:
            shutil.chown(folder, self._as["user"], self._as["group"])
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, **self._as}
        made = [programs / "initdb", "--pgdata", folder / "data", "--username", "gac", "--auth", "trust", "--no-sync"]
        subprocess.run(made, check=True, cwd=folder, **quiet)
        self._serve = [programs / "postgres", "-D", folder / "data", "-F", "-k", folder, "-c", "listen_addresses="]
        self._quiet = quiet
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._serve, cwd=self.folder, stderr=log, **self._quiet)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Breaks all connections and transactions."""
        self.process.send_signal(how)
        self.process.wait(WAIT_S)

    def restart(self) -> None:
        self.stop()
        self.start()
        self.new_database()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://gac@/{database}?host={self.folder}"

    def new_database(self, template: str = "template1") -> str:
        """The URL of a copy of another; waits for the server."""
        self.num_databases += 1
        name = f"gac_{self.num_databases}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        until_s = time.monotonic() + WAIT_S
        while True:
            try:
                with engine.connect() as connection:
                    connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
                break
            except OperationalError:
                assert time.monotonic() < until_s, (self.folder / "log").read_text()
                time.sleep(0.1)
        engine.dispose()
        return self.url(name)

    def migrated(self) -> str:
        """The URL of a new database with today's schema, which is made once."""
        return self.new_database(self._migrated)

    @cached_property
    def _migrated(self) -> str:
        upgrade(url := self.new_database())
        return str(make_url(url).database)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    pytest.importorskip("psycopg")
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if not found:
        pytest.skip("there is no Postgres on this machine")
    # Not below pytest's folders, which are closed to other users.
    with tempfile.TemporaryDirectory(prefix="gac-postgres-") as folder:
        postgres = Postgres(Path(found).resolve().parent, Path(folder))
        yield postgres
        postgres.stop(signal.SIGQUIT)  # at once: nothing of it is kept


class PostgresHouse(House):
    """Services that share one database of the server."""

    def __init__(self, url: str) -> None:
        super().__init__(Path())
        self.url = url

    def store(self) -> Store:
        return Store(self.url, retry_s=5.0)


@pytest.fixture
def house(postgres: Postgres) -> Iterator[PostgresHouse]:
    house = PostgresHouse(postgres.migrated())
    yield house
    house.close()


def test_what_was_deleted_without_its_mark_stays_deleted(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.migrated()
    stays_deleted(tmp_path, lambda: PostgresHouse(url), Away(monkeypatch))


def test_a_restart_between_writes_and_in_one_loses_nothing(house: PostgresHouse, postgres: Postgres) -> None:
    service = house.service()
    before = answer(service)
    postgres.restart()
    assert [run.run_id for run in listed(service)] == [before.id], "a read is not tried again: the pool has to know"
    tries = list[str]()

    def interrupted(session: Session) -> None:
        tries.append(new_id())
        changes.start_run(session, new_run(run_id=tries[-1], visitor_key=ALICE))
        session.flush()
        if len(tries) == 1:
            postgres.restart()
            session.execute(text("SELECT 1"))

    service._store.write(interrupted).result(WAIT_S)
    assert len(tries) == 2
    assert {run.run_id for run in listed(service)} == {before.id, tries[1]}, "and nothing of the broken transaction"
    assert service._store.num_errors == 0


def test_a_writer_that_falls_asleep_holds_up_nobody(house: PostgresHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_IDLE_S", 1)
    sleeper, other, tries = house.store(), house.store(), list[str]()

    def asleep_at_first(session: Session) -> None:
        tries.append(new_id())
        changes.start_run(session, new_run(run_id=tries[-1], visitor_key=ALICE))
        session.flush()
        if len(tries) == 1:
            other.start_run(new_run()).result(WAIT_S)
            session.execute(text("SELECT 1"))

    sleeper.write(asleep_at_first).result(WAIT_S)
    assert sleeper.load_run(ALICE, tries[1])
    for store in (sleeper, other):
        store.close()


def test_while_it_is_down_the_host_says_so_and_saves_later(
    house: PostgresHouse, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_HOLDS_S", 0.0)
    service = house.service()
    client = TestClient(bare_host(service, service.config.server), base_url="http://localhost:7860")
    for name in service.config.member_names:
        service.members.set(name, "ready")
    assert client.get("/readyz").status_code == 200
    postgres.stop()
    down = client.get("/readyz")
    assert (down.status_code, [*down.json()["reasons"]]) == (503, ["storage"])
    run = service.start(ALICE, "Name three colours", SHORT)
    assert run.over.wait(WAIT_S), "the answer waits for no database"
    assert run.is_saved is None
    postgres.restart()
    assert ended(run).is_saved
    assert client.get("/readyz").status_code == 200


# Tests that need nothing but stores, or a house and two servers on one database. The `other` database is SQLite.
here, there, exported = test_two_servers.here, test_two_servers.there, test_exports.exported
OF_STORES = (test_store, test_history, test_battles, test_text)
OF_HOUSES = (test_two_servers, test_two_servers_of_runs, test_standings, test_exports)
TAKEN = {"store", "shared_store", "other", "house", "arena", "here", "there", "exported"}
ON_ANY_DATABASE = [
    test
    for module in OF_STORES + OF_HOUSES
    for name, test in vars(module).items()
    if name.startswith("test_") and TAKEN >= {*inspect.signature(test).parameters} > set()
]


@pytest.fixture
def store(postgres: Postgres) -> Iterator[Store]:
    store = Store(postgres.migrated())
    yield store
    store.close()


shared_store = store


@pytest.mark.parametrize("test", ON_ANY_DATABASE, ids=lambda test: test.__name__.removeprefix("test_"))
def test_it_is_the_same_on_postgres(test: Callable[..., None], request: pytest.FixtureRequest) -> None:
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})


def test_migrations_make_the_same_tables_on_postgres(postgres: Postgres) -> None:
    url = postgres.new_database()
    assert current_revision(url) is None
    assert upgrade(url) == upgrade(url) == current_revision(url)
    engine = create_engine(url)
    with engine.begin() as connection:  # back to the first schema
        for table in ("tombstone", "client_key"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    upgrade(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_three_that_start_at_once_make_one_schema(postgres: Postgres) -> None:
    url = postgres.new_database()
    assert heads_of_three(url) == {current_revision(url)}
