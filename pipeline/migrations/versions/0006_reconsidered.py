"""A revision may be asked for by what was learned, and not by an anomaly."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Say when it was, until that is long ago; null: an anomaly asked."""
    op.execute("ALTER TABLE revisions ADD COLUMN learned_at timestamptz")
    op.execute("CREATE INDEX revisions_learned ON revisions (learned_at) WHERE learned_at IS NOT NULL")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE revisions DROP COLUMN learned_at")
