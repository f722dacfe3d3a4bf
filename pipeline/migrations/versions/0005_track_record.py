"""How an action did before is looked up by its name; situations' old keys are dropped by their age."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX incidents_action ON incidents ((body->'action'->>'name'))")
    op.execute("CREATE INDEX situation_keys_oldest ON situation_keys (last_at)")


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX incidents_action, situation_keys_oldest")
