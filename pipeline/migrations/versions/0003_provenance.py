"""Provenance: what each decision came of."""

from alembic import op

revision = "0003"
down_revision = "0002"

# Bytes and not jsonb: a model's raw answer may hold a NUL, which jsonb refuses.
_UP = """
CREATE TABLE provenance (
    decision_id text PRIMARY KEY REFERENCES decisions (id) ON DELETE CASCADE,
    body bytea NOT NULL
)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(_UP)


def downgrade() -> None:
    """Forget it."""
    op.execute("DROP TABLE provenance")
