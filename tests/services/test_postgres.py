"""The arena on a real Postgres, where one is installed: a battle from the prompt to another database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import ImportResult
from gac_app.storage import Store, upgrade
from tests.fakes import WAIT_S
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, BOB, House, answer, until
from tests.services.mirror.test_exports import HARD, imported

pytestmark = [pytest.mark.process, pytest.mark.slow]


class Postgres:
    """A cluster of its own in a folder of its own, reached by a socket in it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder, self.num_databases = folder, 0
        # Postgres runs as anybody but root.
        self._as: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if not os.geteuid() else {}
        )
        if self._as:
            shutil.chown(folder, self._as["user"], self._as["group"])
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, **self._as}
        made = [programs / "initdb", "--pgdata", folder / "data", "--username", "gac", "--auth", "trust", "--no-sync"]
        subprocess.run(made, check=True, cwd=folder, **quiet)
        options = ("-F", "-k", folder, "-c", "listen_addresses=")
        with (folder / "log").open("wb") as log:
            command = [programs / "postgres", "-D", folder / "data", *options]
            self.process = subprocess.Popen(command, cwd=folder, stderr=log, **quiet)

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
        postgres.process.send_signal(signal.SIGINT)  # waits for no client
        postgres.process.wait(WAIT_S)


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


def test_a_battle_from_the_prompt_to_another_database(house: PostgresHouse, postgres: Postgres, tmp_path: Path) -> None:
    arena = Arena(house, arena={"min_votes": 1, "min_seconds": 0.0})
    for key, outcome in ((ALICE, "left"), (BOB, "right")):
        view = arena.answered(key=key, prompt=HARD)
        voted = arena.service.vote(key, view.id, outcome, view.ballot)
        undone = arena.service.undo(key, view.id, voted.ballot)
        assert arena.service.standings.rated("people", has_flagged=True).num_votes == (key == BOB)
        voted = arena.service.vote(key, view.id, "left", undone.ballot)
        arena.service.remark(key, view.id, {"left": ["clear"]}, HARD, voted.ballot)
        arena.service.reveal(key, view.id)
        assert arena.kinds(view.id, key) == ["vote", "undo", "vote", "remark"]
    run = answer(arena.runs, prompt=HARD)
    arena.runs.history.vote(ALICE, run.id, "ensemble")
    assert arena.service.history.newest(ALICE, 9)[1] == 3

    board = arena.service.standings.rated("people", has_flagged=True)
    assert (board.num_votes, board.num_sessions) == (4, 2)
    exported = list(Exports(arena.store).lines())
    assert len(exported) == 1 + 2 + 2
    for number, other_url in enumerate((postgres.new_database(), f"sqlite:///{tmp_path / 'other.db'}")):
        other = Store(other_url)
        assert imported(other, exported) == ImportResult(5, 0, 0, 0), number
        assert imported(other, exported) == ImportResult(0, 5, 0, 0)
        assert list(Exports(other).lines()) == exported
        other.close()

    arena.runs.history.delete_all(ALICE)
    assert len(arena.store.battles.votes()) == 1


def test_two_servers_on_one_postgres(house: PostgresHouse) -> None:
    here, there = Arena(house), Arena(house)
    view = here.answered()
    here.store.flush()
    assert there.service.history.look(ALICE, view.id).message.startswith("Another server has this battle")
    assert there.service.history.newest(ALICE, 9)[1] == 0
    here.service.skip(ALICE, view.id)
    until(lambda: there.service.history.newest(ALICE, 9)[1] == 1, "for it to be listed")
    assert list(there.service.history.own(ALICE)) == []  # nobody is told who answered
