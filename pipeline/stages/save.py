"""Decisions into the tables, inside one transaction: each with what it came of, and the first writer of an id wins."""

from collections.abc import Sequence
from typing import Any

from pipeline.stages.count import LOCK_FINGERPRINTS, encoded
from schemas import Decision, Provenance

Made = tuple[Decision, Provenance | None]
"""A decision, and what it came of."""


async def save(connection: Any, made: Sequence[Made]) -> dict[str, bytes]:
    """Write decisions down; returns the bodies of those whose first writer this is, by their ids.

    What a decision spoke of is what its episode's next revision is measured by: the episode is touched, too.
    """
    first = {decision.id: (decision, came_of) for decision, came_of in reversed(made)}
    rows = [first[decision_id] for decision_id in sorted(first)]  # in one order: two writers do not deadlock
    bodies = {decision.id: encoded(decision) for decision, _ in rows}
    decisions = [decision for decision, _ in rows]
    await connection.execute(LOCK_FINGERPRINTS, [decision.fingerprint for decision in decisions])
    saved = await connection.fetch(
        _SAVE,
        list(bodies),
        [decision.episode_id for decision in decisions],
        [decision.anomaly_id for decision in decisions],
        [decision.revision for decision in decisions],
        [decision.service for decision in decisions],
        [decision.error_type for decision in decisions],
        [decision.verdict for decision in decisions],
        [decision.engine for decision in decisions],
        [decision.confidence_score for decision in decisions],
        [decision.latency_ms for decision in decisions],
        [decision.created_at for decision in decisions],
        [decision.occurrences for decision in decisions],
        [body.decode() for body in bodies.values()],
        list(bodies.values()),
        [came_of and encoded(came_of) for _, came_of in rows],
    )
    return {row["id"]: bodies[row["id"]] for row in saved}


# One statement, so decision and provenance are written together or not at all; who is second writes neither.
_SAVE = """
WITH made AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[], $9::float8[],
        $10::float8[], $11::timestamptz[], $12::bigint[], $13::jsonb[], $14::bytea[], $15::bytea[]
    ) AS made (
        id, episode_id, anomaly_id, revision, service, error_type, verdict, engine, confidence_score, latency_ms,
        created_at, occurrences, body, published, came_of
    )
),
saved AS (
    INSERT INTO decisions (
        id, episode_id, anomaly_id, revision, service, error_type, verdict, engine, confidence_score, latency_ms,
        created_at, body, published
    )
    SELECT
        id, episode_id, anomaly_id, revision, service, error_type, verdict, engine, confidence_score, latency_ms,
        created_at, body, published
    FROM made
    ON CONFLICT (id) DO NOTHING RETURNING id
),
kept AS (
    INSERT INTO provenance (decision_id, body, made_at)
    SELECT id, came_of, created_at FROM made JOIN saved USING (id) WHERE came_of IS NOT NULL
),
measured AS (
    UPDATE episodes SET decided = made.occurrences FROM made
    WHERE episodes.id = made.episode_id AND episodes.revision = made.revision AND episodes.decided IS NULL
)
SELECT id FROM saved
"""
