"""The newest verdicts are listed."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the index."""
    op.execute("CREATE INDEX feedback_newest ON feedback (created_at DESC)")


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP INDEX feedback_newest")
