"""The decisions about a service are looked up by it: a rare one was looked for in those of years."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Index them in the order in which they are listed."""
    op.execute("CREATE INDEX decisions_service ON decisions (service, created_at DESC, id)")


def downgrade() -> None:
    """Forget it."""
    op.execute("DROP INDEX decisions_service")
