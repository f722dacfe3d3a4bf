"""How an action did before is looked up for each decision: by its name."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX incidents_action ON incidents ((body->'action'->>'name'))")


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX incidents_action")
