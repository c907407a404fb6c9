"""Run by alembic: migrate over the connection, and inside the transaction, that `schema.upgrade_engine` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
