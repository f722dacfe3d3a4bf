"""A fault that is said to have begun before this century began when Kafka had it: nobody set that time."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Put right what was written, -infinity among it, with which no situation can be listed or found any more."""
    op.execute("UPDATE episodes SET began_at = opened_at WHERE began_at < '2000-01-01Z'")
    op.execute("DELETE FROM situation_keys WHERE first_at < '2000-01-01Z'")


def downgrade() -> None:
    """Nothing to take back."""
