"""What verdicts teach may wait for a human's approval before it is knowledge."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the table."""
    op.execute("""
CREATE TABLE proposals (
    incident_id text PRIMARY KEY,
    body jsonb NOT NULL,
    proposed_at timestamptz NOT NULL DEFAULT now()
)
""")


def downgrade() -> None:
    """Take it away, and what waits in it."""
    op.execute("DROP TABLE proposals")
