"""Episodes that reopen and are decided again, situations, silences, and notifications that wait and share a message."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UP = """
ALTER TABLE episodes DROP CONSTRAINT episodes_state_check;
ALTER TABLE episodes ADD CHECK (state IN ('open', 'escalated', 'quiet', 'resolved'));
ALTER TABLE episodes
    ADD COLUMN ordinal bigint GENERATED ALWAYS AS IDENTITY,
    ADD COLUMN began_at timestamptz,
    ADD COLUMN touched_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN spike double precision,
    ADD COLUMN revised_spike double precision,
    ADD COLUMN decided bigint,
    ADD COLUMN situation_id text,
    ADD COLUMN source text,
    ADD COLUMN message text,
    ADD COLUMN labels jsonb NOT NULL DEFAULT '{}';
UPDATE episodes SET began_at = opened_at, decided = occurrences;
ALTER TABLE episodes ALTER COLUMN began_at SET NOT NULL;
DROP INDEX episodes_open;
-- one episode of a fingerprint goes on, whoever writes
CREATE UNIQUE INDEX episodes_active ON episodes (fingerprint) WHERE state IN ('open', 'escalated');
CREATE INDEX episodes_latest ON episodes (fingerprint, ordinal DESC);
CREATE INDEX episodes_ordinal ON episodes (ordinal);
CREATE INDEX episodes_situation ON episodes (situation_id);

CREATE TABLE revisions (
    episode_id text NOT NULL REFERENCES episodes (id),
    revision integer NOT NULL,
    anomaly_id text NOT NULL,
    PRIMARY KEY (episode_id, revision)
);
COMMENT ON TABLE revisions IS 'which anomaly asked for which decision: delivered again, it asks again';
INSERT INTO revisions SELECT id, revision, opened_by FROM episodes;
CREATE INDEX revisions_anomaly ON revisions (anomaly_id);

CREATE TABLE situation_keys (
    key text PRIMARY KEY,
    situation_id text NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL
);

CREATE TABLE silences (
    id text PRIMARY KEY,
    matchers text[] NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    author text NOT NULL,
    comment text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE messages (
    id text PRIMARY KEY,
    channel text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('head', 'update', 'digest', 'edit')),
    situation_id text,
    state text NOT NULL CHECK (state IN ('claimed', 'sent', 'refused')),
    ts text,
    detail text,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX messages_newest ON messages (channel, claimed_at DESC);
CREATE INDEX messages_situation ON messages (situation_id);

ALTER TABLE notifications DROP CONSTRAINT notifications_state_check;
ALTER TABLE notifications ADD CHECK (state IN ('waiting', 'claimed', 'sent', 'refused', 'muted'));
ALTER TABLE notifications
    ADD COLUMN message_id text,
    ADD COLUMN kafka_partition integer NOT NULL DEFAULT 0,
    ADD COLUMN kafka_offset bigint NOT NULL DEFAULT 0;
CREATE INDEX notifications_unsent ON notifications (channel, claimed_at) WHERE state IN ('waiting', 'claimed');
"""


def upgrade() -> None:
    """Add it to what is there."""
    for statement in _UP.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """No way back: what waits for a message would be lost."""
    raise NotImplementedError("restore the backup that was made before the upgrade")
