"""The work that every peer does: decode the anomaly, fingerprint it, count it exactly into its episode in PostgreSQL.

It is less than ours: no quiet time, no `resolved`, no dead letters, no evidence, no decision. What is written is the
same: the anomaly's row with its body, and the episode's count, both or neither; an id that is there already counts
nothing. One statement does it, so a peer needs one round trip.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas import Anomaly

COMMIT_SECONDS = 0.5
"""How often offsets are committed: as often as ours are."""
BATCH = 500

anomaly_of = msgspec.json.Decoder(Anomaly).decode
_LABELS = ("cluster", "namespace", "region", "deployment", "database", "queue", "topic", "job")

COUNT_MANY = """
WITH rows AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::integer[], $4::bigint[], $5::timestamptz[], $6::jsonb[], $7::text[], $8::text[],
        $9::text[], $10::text[], $11::text[]
    ) AS r (id, topic_id, part, at, received_at, body, fingerprint, service, environment, error_type, severity)
), fresh AS (
    INSERT INTO anomalies (id, episode_id, topic_id, kafka_partition, kafka_offset, received_at, body)
    SELECT id, 'ep_' || fingerprint, topic_id, part, at, received_at, body FROM rows
    ON CONFLICT (id) DO NOTHING RETURNING id
)
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, service, environment, error_type, severity, opened_at,
    last_seen_at, began_at
)
SELECT 'ep_' || fingerprint, fingerprint, 'open', min(id), count(DISTINCT id), min(service), min(environment),
    min(error_type), min(severity), min(received_at), max(received_at), min(received_at)
FROM rows WHERE id IN (SELECT id FROM fresh) GROUP BY fingerprint
ON CONFLICT (id) DO UPDATE SET occurrences = episodes.occurrences + excluded.occurrences,
    last_seen_at = greatest(episodes.last_seen_at, excluded.last_seen_at)
"""
COUNT_ONE = """
WITH fresh AS (
    INSERT INTO anomalies (id, episode_id, topic_id, kafka_partition, kafka_offset, received_at, body)
    VALUES ($1, 'ep_' || $7, $2, $3, $4, $5, $6::jsonb) ON CONFLICT (id) DO NOTHING RETURNING id
)
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, service, environment, error_type, severity, opened_at,
    last_seen_at, began_at
)
SELECT 'ep_' || $7, $7, 'open', $1, 1, $8, $9, $10, $11, $5, $5, $5 FROM fresh
ON CONFLICT (id) DO UPDATE SET occurrences = episodes.occurrences + 1,
    last_seen_at = greatest(episodes.last_seen_at, excluded.last_seen_at)
"""
Row = tuple[str, str, int, int, datetime, str, str, str | None, str | None, str, str | None]


@dataclass(frozen=True, slots=True)
class Task:
    """Where to read and where to write."""

    kafka: str
    topic: str
    group: str
    database: str


def told() -> Task:
    """What the benchmark says in the environment."""
    return Task(*(os.environ[f"BENCH_{name}"] for name in ("KAFKA", "TOPIC", "GROUP", "DATABASE")))


def row_of(value: bytes, topic: str, partition: int, offset: int, milliseconds: int) -> Row:
    """A record to the row that is written."""
    anomaly = anomaly_of(value)
    pairs = {"environment": anomaly.environment, "service": anomaly.service, "error_type": anomaly.error_type}
    pairs |= {f"label:{name}": anomaly.labels[name] for name in _LABELS if name in anomaly.labels}
    canonical = msgspec.json.encode(sorted((name, value) for name, value in pairs.items() if value is not None))
    return (
        anomaly.id or f"{topic}/{partition}/{offset}", topic, partition, offset,
        datetime.fromtimestamp(milliseconds / 1000, UTC), value.decode(),
        f"fp_{hashlib.sha256(canonical).hexdigest()[:24]}",
        anomaly.service, anomaly.environment, anomaly.error_type, anomaly.severity,
    )  # fmt: skip


def columns(rows: Iterable[Row]) -> list[list[Any]]:
    """Rows as the arrays of `COUNT_MANY`, in the order of fingerprints: two writers do not deadlock."""
    return [list(column) for column in zip(*sorted(rows, key=lambda row: row[6]), strict=True)]
