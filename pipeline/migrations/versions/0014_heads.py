"""Which channels have messages to be kept up is asked every few seconds."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX messages_heads ON messages (claimed_at) WHERE kind = 'head' AND state = 'sent'")


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX messages_heads")
