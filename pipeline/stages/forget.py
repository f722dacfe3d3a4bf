"""What is old goes: closed episodes with all that hangs on them, a batch at a time, beside counting.

Old is what neither Kafka's clock nor ours has seen for so long. Whoever may touch an episode holds the lock of its
fingerprint; here that is tried and never waited for: what is being counted is not old. Why so: deploy/RETENTION.md.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import Any, TypeVar

import structlog

from pipeline import metrics
from pipeline.stages.episodes import ACTIVE
from pipeline.stages.record import Record

BATCH = 1000
"""Anomalies deleted in one transaction, beside what goes with the episodes that are empty then."""
_EPISODES = 100
"""Episodes looked at in one transaction."""
_PAUSE = 4
"""How many times as long as a batch took the next one waits: four fifths of the time nothing is deleted."""

T = TypeVar("T")
Place = tuple[datetime, str]
"""How far a sweep has come: when the episode was last seen, and its id."""
_START: Place = (datetime.min.replace(tzinfo=UTC), "")
log = structlog.get_logger()


async def forget(record: Record, kept: timedelta) -> Counter[str]:
    """Forget what was last seen longer ago than it is ``kept``; returns the rows that went, by table.

    Nothing where another worker is at it. Each batch is whole by itself: after a crash the next sweep goes on.
    """
    gone: Counter[str] = Counter()
    async with record.connection() as connection:
        before = await connection.fetchval("SELECT now() - $1::interval", kept)
    # A transaction that only holds the lock. Executed without values, as text, and not fetched: what is fetched leaves
    # its snapshot to the transaction, and then nobody's dead rows are pruned until the sweep is over.
    async with record.connection() as alone, alone.transaction():
        if not _count(await alone.execute(_ALONE)):
            return gone

        async def batch(work: Callable[[Any], Awaitable[T]]) -> T:
            await alone.execute("SELECT")  # raises where the lock went with its connection
            return await _paced(record, work)

        place: Place | None = _START
        while place is not None:
            rows, place = await batch(_sweep(before, place))
            _add(gone, rows)
        for table, statement in _LOOSE.items():
            count = BATCH
            while count == BATCH:
                count = await batch(_delete(statement, before))
                _add(gone, {table: count})
    if gone:
        log.info("forgotten", **gone)
    return gone


def _add(gone: Counter[str], rows: dict[str, int]) -> None:
    for table, count in rows.items():
        if count:
            gone[table] += count
            metrics.rows_forgotten.labels(table=table).inc(count)


async def _paced(record: Record, work: Callable[[Any], Awaitable[T]]) -> T:
    started = perf_counter()
    async with record.connection() as connection, connection.transaction():
        await connection.execute(_BY_INDEX)
        done = await work(connection)
    await asyncio.sleep(_PAUSE * (perf_counter() - started))
    return done


def _sweep(before: datetime, place: Place) -> Callable[[Any], Awaitable[tuple[dict[str, int], Place | None]]]:
    """The next batch of episodes: the rows that went, and where to go on; None at the end."""

    async def work(connection: Any) -> tuple[dict[str, int], Place | None]:
        found = await connection.fetch(_OLD, before, list(ACTIVE), *place, _EPISODES)
        if not found:
            return {}, None
        names, prints = [row["id"] for row in found], [row["fingerprint"] for row in found]
        locked = [row["id"] for row in await connection.fetch(_LOCKED, names, prints)]
        # In a statement of its own: what is read must be newer than the locks.
        old = [row["id"] for row in await connection.fetch(_STILL_OLD, locked, before, list(ACTIVE))]
        repeats = _count(await connection.execute(_REPEATS, old, BATCH))
        if repeats == BATCH:
            return {"anomalies": repeats}, place
        rows = await _whole(connection, old, before)
        return rows | {"anomalies": rows["anomalies"] + repeats}, (found[-1]["last_seen_at"], found[-1]["id"])

    return work


async def _whole(connection: Any, old: Sequence[str], before: datetime) -> dict[str, int]:
    """Delete episodes with all that is left of them, but for those that stay."""
    await connection.execute(_LOCK_DECISIONS, old)  # a verdict on one that is under way is waited for, and then seen
    stay = {row["episode_id"] for row in await connection.fetch(_STAY, old, before, list(ACTIVE))}
    gone = [name for name in old if name not in stay]
    return {table: _count(await connection.execute(statement, gone)) for table, statement in _WHOLE.items()}


def _delete(statement: str, before: datetime) -> Callable[[Any], Awaitable[int]]:
    async def work(connection: Any) -> int:
        return _count(await connection.execute(statement, before, BATCH))

    return work


def _count(status: str) -> int:
    """The number in a statement's answer, which is DELETE 7, or SELECT 1."""
    return int(status.rsplit(maxsplit=1)[-1])


_ALONE = "SELECT WHERE pg_try_advisory_xact_lock(hashtextextended('pulseguard.forget', 0))"
# Told by the share of the table that an episode has, the planner would read it from its beginning, batch by batch.
_BY_INDEX = "SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_seqscan', 'enable_bitmapscan']) AS name"
_OLD = """
SELECT id, fingerprint, last_seen_at FROM episodes
WHERE last_seen_at < $1 AND touched_at < $1 AND state <> ALL($2) AND (last_seen_at, id) > ($3, $4)
ORDER BY last_seen_at, id LIMIT $5
"""
_LOCKED = """
SELECT id FROM unnest($1::text[], $2::text[]) AS old (id, fingerprint)
WHERE pg_try_advisory_xact_lock(hashtextextended(fingerprint, 0))
"""
_STILL_OLD = """
SELECT id FROM episodes WHERE id = ANY($1) AND last_seen_at < $2 AND touched_at < $2 AND state <> ALL($3)
"""
# Who opened the episode and who asked for decisions stay as long as it does: delivered again, they are known.
_REPEATS = """
DELETE FROM anomalies WHERE id = ANY(ARRAY(
    SELECT repeated.id FROM episodes, LATERAL (
        SELECT id FROM anomalies WHERE episode_id = episodes.id AND anomalies.id <> opened_by
            AND NOT EXISTS (SELECT FROM revisions WHERE episode_id = episodes.id AND anomaly_id = anomalies.id)
        LIMIT $2
    ) AS repeated
    WHERE episodes.id = ANY($1) LIMIT $2
))
"""
_LOCK_DECISIONS = "SELECT FROM decisions WHERE episode_id = ANY($1) ORDER BY id FOR UPDATE"
# What was judged; what was decided lately; what waits to be told; and what the first message of a situation that goes
# on was about.
_STAY = """
WITH young AS (
    SELECT situation_id FROM (SELECT DISTINCT situation_id FROM episodes WHERE id = ANY($1)) AS old
    WHERE EXISTS (
        SELECT FROM episodes WHERE episodes.situation_id = old.situation_id
            AND (last_seen_at >= $2 OR touched_at >= $2 OR state = ANY($3))
    )
),
first AS (
    SELECT DISTINCT ON (told.situation_id, told.channel) told.situation_id, told.message_id
    FROM young JOIN notifications AS told ON told.situation_id = young.situation_id
    JOIN messages ON messages.id = told.message_id
    WHERE told.state = 'sent'
    ORDER BY told.situation_id, told.channel, messages.claimed_at
)
SELECT episode_id FROM decisions JOIN feedback ON feedback.decision_id = decisions.id WHERE episode_id = ANY($1)
UNION
SELECT episode_id FROM decisions WHERE episode_id = ANY($1) AND created_at >= $2
UNION
SELECT episode_id FROM decisions JOIN notifications ON notifications.decision_id = decisions.id
WHERE episode_id = ANY($1) AND (
    state IN ('waiting', 'claimed') OR (situation_id, message_id) IN (SELECT situation_id, message_id FROM first)
)
"""
_WHOLE = {
    "notifications": """
        DELETE FROM notifications USING decisions
        WHERE episode_id = ANY($1) AND decision_id = decisions.id AND state NOT IN ('waiting', 'claimed')
    """,
    "provenance": "DELETE FROM provenance USING decisions WHERE episode_id = ANY($1) AND decision_id = decisions.id",
    "decisions": "DELETE FROM decisions WHERE episode_id = ANY($1)",
    "anomalies": "DELETE FROM anomalies WHERE episode_id = ANY($1)",
    "revisions": "DELETE FROM revisions WHERE episode_id = ANY($1)",
    "episodes": "DELETE FROM episodes WHERE id = ANY($1)",
}
"""In the order in which they refer to each other."""
_LOOSE = {
    "anomalies": """
        DELETE FROM anomalies WHERE id = ANY(ARRAY(
            SELECT id FROM anomalies WHERE episode_id IS NULL AND counted_at < $1
            ORDER BY counted_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ))
    """,
    "messages": """
        DELETE FROM messages WHERE id = ANY(ARRAY(
            SELECT id FROM messages WHERE claimed_at < $1 AND state <> 'claimed'
                AND NOT EXISTS (SELECT FROM notifications WHERE message_id = messages.id)
            ORDER BY claimed_at LIMIT $2 FOR UPDATE SKIP LOCKED
        ))
    """,
}
"""What hangs on no episode: a `resolved` of nothing, and calls to a channel that nothing refers to any more."""
