"""The first schema. A new database gets today's tables and no revision; see `schema.upgrade_engine`."""

revision, down_revision, branch_labels, depends_on = "0001", None, None, None


def upgrade() -> None:
    """Nothing: no database has an older schema."""
