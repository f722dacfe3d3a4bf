"""The decisions of an episode are looked up by it: for the page, and for the order of situations."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Index them."""
    op.execute("CREATE INDEX decisions_episode ON decisions (episode_id, created_at)")


def downgrade() -> None:
    """Forget it."""
    op.execute("DROP INDEX decisions_episode")
