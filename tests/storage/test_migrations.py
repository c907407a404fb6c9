from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from gac_app.decoding.trace.events import TokenEvent
from gac_app.decoding.trace.serialise import token_to_json
from gac_app.errors import StorageError
from gac_app.storage import Store, current_revision, upgrade
from gac_app.storage.database import engine, schema
from gac_app.storage.database.engine import create_file, open_engine, writing
from gac_app.storage.database.tables import Base
from gac_app.storage.runs import queries
from tests.storage.samples import ALICE, answer, listed, new_run, token_event

DIE_HALFWAY = """
import os, signal, sys
from sqlalchemy import Engine, event
from gac_app.storage import upgrade

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if "CREATE TABLE answer" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

upgrade(sys.argv[1])
"""

# What the first version wrote, in its own columns.
OLD_ROWS = """
INSERT INTO visitor_session (id, key_hash, created_at) VALUES (1, :key_hash, '2026-01-01 00:00:00');
INSERT INTO conversation (id, visitor_id, created_at) VALUES ('c', 1, '2026-01-01 00:00:00');
INSERT INTO run (id, conversation_id, position, prompt, settings, member_names, config_hash, versions, status,
                 created_at)
  VALUES ('r', 'c', 0, 'Why?', '{}', '["Smol"]', '', '{}', 'finished', '2026-01-01 00:00:00');
INSERT INTO answer (id, run_id, system, is_ensemble, messages, text, num_tokens, num_ensembled, ttft_s, seconds,
                    finish_reason, detail, members)
  VALUES ('a', 'r', 'Smol', 0, '[]', 'Because.', 1, 0, 0.1, 0.2, 'stop', '', '{}');
INSERT INTO trace (answer_id, steps) VALUES ('a', :steps);
INSERT INTO vote (run_id, outcome, created_at) VALUES ('r', 'tie', '2026-01-01 00:00:00')
"""


@pytest.fixture
def url(new_url: str) -> str:
    """Of a database that is yet to be made."""
    return new_url


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return names


def test_from_nothing_and_again(url: str, path: Path) -> None:
    assert current_revision(url) is None
    assert not path.exists(), "asking must not make a file"
    head = upgrade(url)
    assert current_revision(url) == head
    before = path.read_bytes()
    assert upgrade(url) == head
    assert path.read_bytes() == before


def test_folders_are_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "gac.db"
    upgrade(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o077 == 0


def test_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    upgrade(url)
    plain = create_engine(url)
    with plain.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    plain.dispose()


def packed(events: list[TokenEvent]) -> bytes:
    return zlib.compress(json.dumps([token_to_json(event) for event in events]).encode())


def make_oldest(url: str, revision: str = "0001", rows: str = OLD_ROWS) -> None:
    """A database as the first version, or another, left it; with one run."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parents[1] / "migrations"))
    create_file(url)
    opened = open_engine(url)
    with writing(opened) as session:
        config.attributes["connection"] = session.connection()
        command.upgrade(config, revision)
        values = {"key_hash": queries.hash_key(ALICE), "steps": packed([token_event("Because.")])}
        for statement in filter(None, rows.split(";")):
            session.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    opened.dispose()


def test_the_oldest_schema_is_upgraded_with_all_its_rows(url: str) -> None:
    make_oldest(url)
    assert current_revision(url) == "0001"

    store = Store(url)
    old = store.load_run(ALICE, "r")

    (kept,) = old.answers
    assert (kept.text, kept.events, old.outcome) == ("Because.", (token_event("Because."),), "tie")
    assert (kept.digest, kept.is_reproducible, old.repeats_run_id) == ("", False, None)
    again = new_run(repeats_run_id="r")
    store.start_run(again)
    store.save_answer(again.run_id, answer()).result()
    assert store.load_run(ALICE, again.run_id).repeats_run_id == "r"
    assert store.load_run(ALICE, again.run_id).answers == (answer(),)
    store.close()


# A conversation of the second version: three turns, the first deleted, and a branch of the third.
OLD_TURNS = """
INSERT INTO conversation (id, visitor_id, created_at) VALUES ('t', 1, '2026-01-01 00:00:00');
INSERT INTO run (id, conversation_id, position, parent_run_id, prompt, settings, member_names, config_hash, versions,
                 status, created_at) VALUES
  ('t2', 't', 1, NULL, 'two?', '{}', '[]', '', '{}', 'finished', '2026-01-01 00:00:01'),
  ('t3', 't', 2, NULL, 'three?', '{}', '[]', '', '{}', 'interrupted', '2026-01-01 00:00:02'),
  ('t4', 't', 3, NULL, 'four?', '{}', '[]', '', '{}', 'finished', '2026-01-01 00:00:03'),
  ('t5', 't', 4, 't4', 'four?', '{}', '[]', '', '{}', 'finished', '2026-01-01 00:00:04'),
  ('t6', 't', 5, NULL, 'six?', '{', '[]', '', '{}', 'finished', '2026-01-01 00:00:05');
INSERT INTO answer (id, run_id, system, is_ensemble, messages, text, num_tokens, num_ensembled, ttft_s, seconds,
                    finish_reason, detail, members) VALUES
  ('a2', 't2', 'ensemble', 1, '[{"role": "user", "content": "xyzzy?"}, {"role": "assistant", "content": "xyzzy"},
    {"role": "user", "content": "two?"}]', 'Two.', 1, 0, 0.1, 0.2, 'stop', '', '{}'),
  ('a4', 't4', 'ensemble', 1, '[{"role": "system", "content": "s"}, {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "Two."}, {"role": "user", "content": "four?"}]', 'Four.', 1, 0, 0.1, 0.2, 'stop',
    '', '{}'),
  ('a5', 't5', 'ensemble', 1, '[{"role": "user", "content": "two?"}, {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "four?"}]', 'Five.', 1, 0, 0.1, 0.2, 'stop', '', '{}'),
  ('a6', 't6', 'ensemble', 1, 'no JSON', 'Six.', 1, 0, 0.1, 0.2, 'stop', '', '{}')
"""


def test_old_turns_are_found_and_deleted_ones_gone(url: str, path: Path) -> None:
    make_oldest(url)
    connection = sqlite3.connect(path)
    connection.executescript(OLD_TURNS)
    connection.commit()
    connection.close()

    store = Store(url)

    turns = {run.run_id: [turn.run_id for turn in run.turns] for run in store.conversation_runs(ALICE, "t")}
    assert turns == {"t2": [], "t3": ["t2"], "t4": ["t2"], "t5": ["t2"]}
    assert {run.run_id: run.status for run in listed(store, ALICE)}["t6"] == "damaged"
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert [word for word in (b"xyzzy", b"two?", b"Two.", b"Because.", b"Why?") if word in data] == []
    store.close()


# Battles of the seventh version: a vote, one that was taken back, and one of an import that nobody had checked.
OLD_VOTES = """
INSERT INTO visitor_session (id, key_hash, created_at) VALUES (1, 'k', '2026-01-01 00:00:00');
INSERT INTO battle (id, visitor_id, key_id, origin, is_blind, "left", "right", language, config_hash, status, body,
                    created_at) VALUES
  ('b1', 1, 1, 'people', 1, 'a', 'b', 'en', 'c', 'answered', x'00', '2026-01-01 00:00:00'),
  ('b2', 1, 2, 'people', 1, 'b', 'a', 'en', 'c', 'answered', x'00', '2026-01-01 00:00:00'),
  ('b3', 1, 3, 'people', 1, 'b', 'c', 'en', 'c', 'answered', x'00', '2026-01-01 00:00:00');
INSERT INTO judgement (id, battle_id, position, kind, outcome, facts, created_at) VALUES
  ('j1', 'b1', 0, 'vote', 'left', CAST('{"turn":2,"left":{"chars":7,"ms_per_token":1.5},"flags":["fast"]}' AS BLOB),
    '2026-01-02 00:00:00.000000'),
  ('j2', 'b2', 0, 'vote', 'left', CAST('{}' AS BLOB), '2026-01-03 00:00:00.000000'),
  ('j3', 'b2', 1, 'undo', '', CAST('{}' AS BLOB), '2026-01-03 00:00:01.000000'),
  ('j4', 'b3', 0, 'vote', 'tie', CAST('{"turn":NaN,"right":{"chars":1e999,"ms_per_token":-Infinity}}' AS BLOB), 'once');
"""


def test_votes_of_earlier_versions_get_their_columns(url: str, path: Path) -> None:
    make_oldest(url, "0007", "")
    connection = sqlite3.connect(path)
    connection.executescript(OLD_VOTES)
    connection.commit()
    connection.close()
    store = Store(url)
    first, last = store.battles.votes()
    assert (first.battle_id, first.turn, first.is_flagged, first.left_chars) == ("b1", 2, True, 7)
    assert (first.left_ms_per_token, first.right_ms_per_token, first.voted_s) == (1.5, None, 1767312000.0)
    assert (last.battle_id, last.turn, last.right_chars, last.right_ms_per_token) == ("b3", 0, 0, None)
    store.close()


def test_a_rewriting_that_failed_is_done_at_the_next_start(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_oldest(url)

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "_vacuum", fail)
        Store(url).close()
    assert "still holds old text" in caplog.text
    Store(url).close()
    data = path.read_bytes()
    assert b"Because." not in data
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(url: str, path: Path) -> None:
    upgrade(url)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for attempt in (upgrade, Store):
        with pytest.raises(StorageError, match="newer version"):
            attempt(url)
    assert path.read_bytes() == before


def test_another_program_s_tables_are_left_alone(url: str, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE run (miles REAL)")
    connection.execute("INSERT INTO run VALUES (26.2)")
    connection.commit()
    with pytest.raises(StorageError, match="already exists"):
        Store(url)
    assert tables(path) == {"run"}
    assert connection.execute("SELECT miles FROM run").fetchall() == [(26.2,)]
    connection.close()


@pytest.mark.process
def test_killed_halfway_it_is_the_old_schema_never_half(url: str, path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_HALFWAY, url], check=False)
    assert killed.returncode == -9
    assert tables(path) == set()
    assert current_revision(url) is None
    upgrade(url)
    assert {"run", "answer", "trace", "vote"} <= tables(path)


@pytest.mark.process
def test_racing_starts_on_one_new_file_all_succeed(url: str) -> None:
    code = "import sys; from gac_app.storage import Store; store = Store(sys.argv[1]); store.check(); store.close()"
    racers = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    # One may say that it could not rewrite the file now, since the others had it open.
    errors = [racer.communicate()[1] for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 3, errors
    assert not any("Traceback" in error for error in errors), errors
    assert current_revision(url) == upgrade(url)


def test_a_start_waits_for_another_s_transaction(url: str, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE notes (note TEXT)")
    with ThreadPoolExecutor() as pool:
        upgraded = pool.submit(upgrade, url)
        with pytest.raises(TimeoutError):
            upgraded.result(timeout=0.5)
        other.execute("COMMIT")
        assert upgraded.result(timeout=10) == current_revision(url)
    other.close()
