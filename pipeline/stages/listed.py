"""What the record lists for its readers: decisions, episodes, situations, and how many there are of each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from pipeline.stages.stored import stored
from schemas import Decision


async def decisions(
    connection: Any, wanted: tuple[int, str | None, str | None, datetime | None, str | None],
    episodes: Sequence[str] | None,
) -> list[Decision]:  # fmt: skip
    """Newest first. ``wanted``: how many, of which service, with which verdict, made before when, or behind which."""
    _, service, *_ = wanted
    if episodes is None:
        rows = await connection.fetch(_DECISIONS if service is None else _DECISIONS_ABOUT, *wanted)
    else:
        rows = await connection.fetch(_DECISIONS_OF, *wanted, list(episodes))
    return stored("decision", rows, lambda row: msgspec.json.decode(row["published"], type=Decision))


async def episodes(connection: Any, limit: int, state: str | None) -> list[dict[str, Any]]:
    """The last seen first."""
    rows = await connection.fetch(_EPISODES if state is None else _EPISODES_IN[state], limit)
    return [dict(row) | {"labels": msgspec.json.decode(row["labels"])} for row in rows]


async def situations(connection: Any, limit: int, only: str | None) -> list[dict[str, Any]]:
    """Each, or ``only`` one, with its episodes in the order they began.

    First those that go on, then by their last decision.
    """
    rows = await (connection.fetch(_SITUATIONS, limit) if only is None else connection.fetch(_SITUATION, limit, only))
    return [{"id": row["situation_id"], "episodes": msgspec.json.decode(row["episodes"])} for row in rows]


_MADE = """
SELECT id, published FROM decisions
WHERE {} AND ($3::text IS NULL OR verdict = $3)
  AND ($4::timestamptz IS NULL OR (created_at <= $4 AND (created_at < $4 OR id > $5::text)))
ORDER BY created_at DESC, id LIMIT $1
"""
# Statements of their own: one plan for all would walk through the decisions of years.
_DECISIONS = _MADE.format("$2::text IS NULL")
_DECISIONS_ABOUT = _MADE.format("service = $2")
_DECISIONS_OF = _MADE.format("($2::text IS NULL OR service = $2) AND episode_id = ANY($6::text[])")
# Told is only of those within the limit. Each is looked up by itself: joined, all episodes of years would be read.
_LISTED = """
SELECT situation_id, (
    SELECT jsonb_agg(
        jsonb_build_object(
            'id', id, 'state', state, 'service', service, 'error_type', error_type, 'severity', severity,
            'occurrences', occurrences, 'revision', revision, 'message', message, 'began_at', began_at,
            'last_seen_at', last_seen_at
        ) ORDER BY began_at, ordinal
    ) FROM episodes WHERE episodes.situation_id = named.situation_id
) AS episodes
FROM ({}) AS named, LATERAL (
    SELECT bool_or(state IN ('open', 'escalated')) AS goes_on, max(opened_at) AS opened_at, max(ordinal) AS ordinal,
        max((SELECT max(created_at) FROM decisions WHERE episode_id = episodes.id)) AS decided_at
    FROM episodes WHERE episodes.situation_id = named.situation_id HAVING count(*) > 0
) AS whole
ORDER BY goes_on DESC, greatest(decided_at, opened_at) DESC, ordinal DESC LIMIT $1
"""
_SITUATION = _LISTED.format("SELECT $2::text AS situation_id")
_SITUATIONS = _LISTED.format("""
    (SELECT situation_id FROM episodes ORDER BY ordinal DESC LIMIT 5000)
    UNION (
        SELECT situation_id FROM episodes WHERE state IN ('open', 'escalated') ORDER BY ordinal DESC LIMIT 5000
    )
""")
_EPISODES = "SELECT * FROM episodes ORDER BY last_seen_at DESC LIMIT $1"
# A statement for each: one for whichever state would look for the few that go on among those of years.
_EPISODES_IN = {
    state: _EPISODES.replace("ORDER", f"WHERE state = '{state}' ORDER")
    for state in ("open", "escalated", "quiet", "resolved")
}
# Advice held where it was accepted, or corrected in no more than parameters, and worked: the last verdict on it counts.
STATS = """
WITH last AS (
    SELECT DISTINCT ON (decision_id) decision_id, verdict, body FROM feedback
    ORDER BY decision_id, coalesce((body->>'created_at')::timestamptz, created_at) DESC, id DESC
), judged AS (
    SELECT confidence_score, coalesce((last.body->>'worked')::boolean, true) AND (
        last.verdict = 'accept'
        OR last.verdict = 'correct' AND last.body->'action'->>'name' = decisions.body->'action'->>'name'
    ) AS held
    FROM last JOIN decisions ON decisions.id = decision_id AND decisions.verdict = 'recommend'
)
SELECT
    (SELECT count(*) FROM anomalies) AS anomalies,
    (SELECT count(*) FROM episodes) AS episodes,
    (SELECT count(*) FROM episodes WHERE state IN ('open', 'escalated')) AS open_episodes,
    (SELECT count(*) FROM decisions) AS decisions,
    (
        SELECT jsonb_object_agg(engine, n) FROM (SELECT engine, count(*) AS n FROM decisions GROUP BY 1) AS e
    ) AS by_engine,
    (
        SELECT jsonb_object_agg(verdict, n) FROM (SELECT verdict, count(*) AS n FROM decisions GROUP BY 1) AS v
    ) AS by_verdict,
    (SELECT count(*) FROM incidents) AS incidents,
    (SELECT count(*) FROM feedback) AS feedback,
    (SELECT count(*) FROM judged) AS judged,
    (SELECT count(*) FROM judged WHERE held) AS judged_right,
    (SELECT avg(confidence_score) FROM judged) AS judged_confidence,
    (SELECT count(*) FROM notifications WHERE state = 'sent') AS notifications,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS median_latency_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99_latency_ms
FROM decisions
"""
