"""The schema's version. A new database gets today's tables, an older one is migrated. Migrations ship inside the
package and run from code.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine

from gac_app.errors import StorageError
from gac_app.storage.database.engine import create_file, database_file, open_engine, storage_errors, use_wal, writing
from gac_app.storage.database.tables import Base

MIGRATIONS = Path(__file__).parents[1] / "migrations"


def upgrade(url: str) -> str:
    """Upgrade the database to this version's schema; create it if missing.

    Returns:
        the revision it now has.

    Raises:
        StorageError: it is newer than this version, damaged, not a database, or not writable. It is left unchanged.
    """
    engine = open_engine(url)
    try:
        return upgrade_engine(engine, url)
    finally:
        engine.dispose()


def current_revision(url: str) -> str | None:
    """The revision of the database's schema; None if there is no database yet. Changes nothing."""
    path = database_file(url)
    if path is not None and not path.exists():
        return None
    engine = open_engine(url)
    try:
        with storage_errors(engine), engine.connect() as connection:
            return _revision(connection)
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine, url: str) -> str:
    """`upgrade` over an open engine."""
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    head = str(scripts.get_current_head())
    create_file(url)
    with storage_errors(engine):
        use_wal(engine)
        # One writing transaction: concurrent processes take turns, and after a crash the old schema remains.
        with writing(engine) as session:
            connection = session.connection()
            revision = _revision(connection)
            known = {script.revision for script in scripts.walk_revisions()}
            if revision is not None and revision not in known:
                raise StorageError(
                    f"the database {engine.url.render_as_string()} has the schema {revision}, which this version does "
                    f"not know (it knows up to {head}): a newer version wrote it. It is left as it was."
                )
            if revision is None:
                Base.metadata.create_all(connection, checkfirst=False)
                MigrationContext.configure(connection).stamp(scripts, head)
            elif revision != head:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
    return head


def _revision(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()
