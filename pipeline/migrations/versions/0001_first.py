"""The first shape: anomalies, episodes, decisions, incidents, feedback, notifications, progress."""

from alembic import op

revision = "0001"
down_revision = None

_UP = """
CREATE TABLE episodes (
    id text PRIMARY KEY,
    fingerprint text NOT NULL,
    revision integer NOT NULL DEFAULT 1,
    state text NOT NULL CHECK (state IN ('open', 'quiet', 'resolved')),
    opened_by text NOT NULL,
    occurrences bigint NOT NULL,
    service text,
    environment text,
    error_type text NOT NULL,
    severity text,
    opened_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL
);
-- one open episode a fingerprint, whoever writes
CREATE UNIQUE INDEX episodes_open ON episodes (fingerprint) WHERE state = 'open';
CREATE INDEX episodes_newest ON episodes (last_seen_at DESC);

CREATE TABLE anomalies (
    id text PRIMARY KEY,
    episode_id text REFERENCES episodes (id),
    topic_id text NOT NULL,
    kafka_partition integer NOT NULL,
    kafka_offset bigint NOT NULL,
    received_at timestamptz NOT NULL,
    body jsonb NOT NULL
);

CREATE TABLE decisions (
    id text PRIMARY KEY,
    episode_id text NOT NULL,
    anomaly_id text NOT NULL,
    revision integer NOT NULL,
    service text,
    error_type text NOT NULL,
    verdict text NOT NULL,
    engine text NOT NULL,
    confidence_score double precision NOT NULL,
    latency_ms double precision NOT NULL,
    created_at timestamptz NOT NULL,
    body jsonb NOT NULL,
    published bytea NOT NULL
);
COMMENT ON COLUMN decisions.published IS 'the very bytes on the decisions topic: one body for one id, for ever';
CREATE INDEX decisions_newest ON decisions (created_at DESC);

CREATE SEQUENCE incident_versions;
CREATE TABLE incidents (
    id text PRIMARY KEY,
    version bigint NOT NULL DEFAULT nextval('incident_versions'),
    body jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE feedback (
    id text PRIMARY KEY,
    decision_id text NOT NULL REFERENCES decisions (id),
    verdict text NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE notifications (
    decision_id text NOT NULL,
    channel text NOT NULL,
    state text NOT NULL CHECK (state IN ('claimed', 'sent', 'refused')),
    ts text,
    detail text,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (decision_id, channel)
);

CREATE TABLE progress (
    topic_id text NOT NULL,
    kafka_partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic_id, kafka_partition)
);
"""


def upgrade() -> None:
    """Create everything."""
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """Back to nothing."""
    op.execute("DROP TABLE progress, notifications, feedback, incidents, decisions, anomalies, episodes")
    op.execute("DROP SEQUENCE incident_versions")
