"""Provenance is forgotten by its own age: beside the decisions of years, looking for what is left took ever longer."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Say when it was made, as its decision does; a worker of the release before, which says nothing, makes it now."""
    op.execute("ALTER TABLE provenance ADD COLUMN made_at timestamptz")
    op.execute("UPDATE provenance SET made_at = created_at FROM decisions WHERE decisions.id = decision_id")
    op.execute("ALTER TABLE provenance ALTER COLUMN made_at SET NOT NULL, ALTER COLUMN made_at SET DEFAULT now()")
    op.execute("CREATE INDEX provenance_oldest ON provenance (made_at)")


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE provenance DROP COLUMN made_at")
