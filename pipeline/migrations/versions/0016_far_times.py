"""A verdict that was given further from UTC than PostgreSQL knows was given when we heard of it."""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Put right what was written, with which no verdict can be learned from and nothing counted any more."""
    op.execute(r"UPDATE feedback SET body = body - 'created_at' WHERE body->>'created_at' ~ '[+-](1[6-9]|2\d):\d\d$'")


def downgrade() -> None:
    """Nothing to take back."""
