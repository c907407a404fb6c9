"""The tests that need nothing but a store, again on a real Postgres, where one is installed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from gac_app.storage import Store, current_revision, upgrade
from gac_app.storage.database.tables import Base
from tests.services import test_postgres
from tests.storage import test_export, test_store, test_text
from tests.storage.battles import test_battles
from tests.storage.runs import test_history

pytestmark = [pytest.mark.process, pytest.mark.slow]
postgres = test_postgres.postgres  # the fixture
ON_A_STORE = [
    test
    for module in (test_store, test_history, test_battles, test_export, test_text)
    for name, test in vars(module).items()
    if name.startswith("test_") and [*inspect.signature(test).parameters] in (["store"], ["shared_store"])
]


@pytest.fixture
def store(postgres: test_postgres.Postgres) -> Iterator[Store]:
    store = Store(postgres.migrated())
    yield store
    store.close()


@pytest.mark.parametrize("test", ON_A_STORE, ids=lambda test: test.__name__.removeprefix("test_"))
def test_it_is_the_same_on_postgres(store: Store, test: Callable[[Store], None]) -> None:
    test(store)


def test_migrations_make_the_same_tables_on_postgres(postgres: test_postgres.Postgres) -> None:
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
