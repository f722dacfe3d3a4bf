"""Verdicts become knowledge: which of them already have."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the mark. What was judged before is not learned by itself: its team may have written it down already."""
    op.execute("ALTER TABLE feedback ADD COLUMN learned boolean NOT NULL DEFAULT true")
    op.execute("ALTER TABLE feedback ALTER COLUMN learned SET DEFAULT false")
    op.execute("CREATE INDEX feedback_unlearned ON feedback (created_at) WHERE NOT learned")


def downgrade() -> None:
    """Take it away."""
    op.execute("ALTER TABLE feedback DROP COLUMN learned")
