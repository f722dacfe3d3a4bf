"""What is old is forgotten: found by its age and by what it hangs on, without looking through a whole table."""

from alembic import op

revision = "0011"
down_revision = "0010"

# A worker of the release before writes no counted_at, and so counts now. What is there counts as seen now, too: nothing
# of before the upgrade goes at once, by a setting that nobody has heard of. What a worker has locked, it touches.
_UP = """
ALTER TABLE anomalies ADD COLUMN counted_at timestamptz NOT NULL DEFAULT now();
COMMENT ON COLUMN anomalies.counted_at IS 'by our clock; received_at is by that of Kafka''s record';
CREATE INDEX anomalies_episode ON anomalies (episode_id);
CREATE INDEX anomalies_alone ON anomalies (counted_at) WHERE episode_id IS NULL;
CREATE INDEX feedback_decision ON feedback (decision_id);
CREATE INDEX messages_oldest ON messages (claimed_at);
UPDATE episodes SET touched_at = now() WHERE id IN (
    SELECT id FROM episodes WHERE state NOT IN ('open', 'escalated') FOR UPDATE SKIP LOCKED
);
"""


def upgrade() -> None:
    """Add the column and the indexes."""
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Take them away."""
    op.execute("DROP INDEX messages_oldest, feedback_decision, anomalies_episode, anomalies_alone")
    op.execute("ALTER TABLE anomalies DROP COLUMN counted_at")
