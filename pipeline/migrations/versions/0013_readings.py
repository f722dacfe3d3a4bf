"""What a model found in a page is known when it cannot be asked again."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table."""
    op.execute("""
CREATE TABLE readings (
    page text PRIMARY KEY,
    body text NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now()
)
""")
    op.execute(
        "COMMENT ON TABLE readings IS 'page: the digest of its text; body: JSON, in which a text may hold a NUL'"
    )


def downgrade() -> None:
    """Take it away, and what was found."""
    op.execute("DROP TABLE readings")
