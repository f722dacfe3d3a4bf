"""PostgreSQL, the record: every effect of the pipeline, idempotent by a key that derives from its input.

The only module that speaks to asyncpg; its errors are told apart here, by SQLSTATE: bad data is `Rejected`, an outage
or a conflict of transactions is `Unavailable`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from pipeline.errors import Misconfigured, Rejected, Unavailable
from pipeline.stages.episodes import Arrival, Episode, advance
from schemas import Decision, Feedback, Incident

__all__ = ["Arrival", "Opening", "Record", "open_record"]

_BAD_DATA = {"22", "23", "54"}
"""SQLSTATE classes of input that no retry mends: data exception, integrity violation, limit exceeded."""
_AWAY = {"08", "40", "53", "55", "57", "58"}
"""SQLSTATE classes that pass: connection, rollback, resources, not ready, operator intervention, system error."""
_CONFLICTS = {"23505", "25006"}
"""Passing too: another worker was first (each insert of ours expects that), or a primary that became a replica."""
_SECONDS = 10.0
"""The limit of each statement, and of the wait for a connection."""


@dataclass(frozen=True, slots=True)
class Opening:
    """An arrival that opened an episode, and so asks for a decision."""

    anomaly_id: str
    episode_id: str
    revision: int
    occurrences: int


class Record:
    """The tables, through a pool. Every call raises `Unavailable` while PostgreSQL is away."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Lend a connection whose errors are ours. The limit holds for its return too: a dead peer never answers."""
        with _translated():
            async with self._pool.acquire(timeout=_SECONDS) as connection:
                yield connection

    async def ping(self) -> None:
        """Answer, or raise `Unavailable`."""
        async with self._connection() as connection:
            await connection.fetchval("SELECT 1", timeout=3)

    async def record_arrivals(self, arrivals: Sequence[Arrival], quiet_seconds: float) -> list[Opening]:
        """Count a batch into its episodes, in one transaction. Ids seen before count nothing.

        Returns an `Opening` for each arrival that opened its episode, also when it is delivered again: a crash after
        the commit and before the publication is mended by redelivery.
        """
        ids = [arrival.anomaly_id for arrival in arrivals]
        if not arrivals:
            return []
        async with self._connection() as connection, connection.transaction():
            prints = sorted({arrival.fingerprint for arrival in arrivals})
            await connection.execute(_LOCK_FINGERPRINTS, prints)
            seen = {row["id"] for row in await connection.fetch("SELECT id FROM anomalies WHERE id = ANY($1)", ids)}
            fresh = {a.anomaly_id: a for a in reversed(arrivals) if a.anomaly_id not in seen}
            open_episodes = {
                row["fingerprint"]: Episode(
                    row["id"], row["fingerprint"], "open", None, row["occurrences"], row["last_seen_at"]
                )
                for row in await connection.fetch(_OPEN_EPISODES, prints)
            }
            in_order = [fresh[a.anomaly_id] for a in arrivals if fresh.get(a.anomaly_id) is a]
            changes = advance(in_order, open_episodes, timedelta(seconds=quiet_seconds))
            # Closing comes first: only one episode of a fingerprint may be open.
            for state_first in (True, False):
                chosen = [e for e in changes.episodes.values() if (e.state != "open") is state_first]
                await _write_episodes(connection, chosen)
            await _write_anomalies(connection, in_order, changes.episode_of)
            await _write_progress(connection, arrivals)
            rows = await connection.fetch(_OPENINGS, ids)
        return [Opening(row["opened_by"], row["id"], row["revision"], row["occurrences"]) for row in rows]

    async def decision_body(self, decision_id: str) -> bytes | None:
        """Return the bytes of a decision as they are published, or None where none was made."""
        async with self._connection() as connection:
            body = await connection.fetchval("SELECT published FROM decisions WHERE id = $1", decision_id)
        return None if body is None else bytes(body)

    async def episode_occurrences(self, episode_id: str) -> int:
        """How many distinct anomalies the episode has now; 0 for one that is not known."""
        async with self._connection() as connection:
            return await connection.fetchval("SELECT occurrences FROM episodes WHERE id = $1", episode_id) or 0

    async def save_decision(self, decision: Decision) -> bytes:
        """Write a decision down; the first writer wins, and what the winner wrote is returned."""
        body = _json(decision)
        async with self._connection() as connection:
            await connection.execute(
                _SAVE_DECISION,
                decision.id, decision.episode_id, decision.anomaly_id, decision.revision, decision.service,
                decision.error_type, decision.verdict, decision.engine, decision.confidence_score,
                decision.latency_ms, decision.created_at, body.decode(), body,
            )  # fmt: skip
        return await self.decision_body(decision.id) or body

    async def cost_since(self, since: datetime) -> float:
        """US dollars that the decisions since then have cost, where that is known."""
        async with self._connection() as connection:
            return await connection.fetchval(_COST_SINCE, since) or 0.0

    async def decisions(
        self, *, limit: int = 50, service: str | None = None, verdict: str | None = None,
        before: datetime | None = None,
    ) -> list[Decision]:  # fmt: skip
        """Decisions, newest first."""
        async with self._connection() as connection:
            rows = await connection.fetch(_DECISIONS, limit, service, verdict, before)
        return [msgspec.json.decode(row["published"], type=Decision) for row in rows]

    async def episodes(self, *, limit: int = 50, state: str | None = None) -> list[dict[str, Any]]:
        """Episodes, the last seen first."""
        async with self._connection() as connection:
            rows = await connection.fetch(_EPISODES, limit, state)
        return [dict(row) for row in rows]

    async def stats(self) -> dict[str, Any]:
        """Count everything, and measure the latency of decisions in milliseconds."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_STATS)
        found = dict(row or {})
        return found | {name: msgspec.json.decode(found[name] or "{}") for name in ("by_engine", "by_verdict")}

    async def upsert_incidents(self, incidents: Sequence[Incident]) -> int:
        """Write incidents; returns how many are new or changed. An unchanged one keeps its version."""
        if not incidents:
            return 0
        newest = {incident.id: _json(incident).decode() for incident in incidents}
        ids = sorted(newest)  # in one order: two writers do not deadlock
        async with self._connection() as connection:
            rows = await connection.fetch(_UPSERT_INCIDENTS, ids, [newest[name] for name in ids])
        return len(rows)

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        """Incidents by id, or the newest ones."""
        async with self._connection() as connection:
            rows = await connection.fetch(_INCIDENTS, None if ids is None else list(ids), limit)
        return [msgspec.json.decode(row["body"], type=Incident) for row in rows]

    async def incident_versions(self) -> dict[str, int]:
        """Each incident's version; it rises with each change."""
        async with self._connection() as connection:
            return {row["id"]: row["version"] for row in await connection.fetch("SELECT id, version FROM incidents")}

    async def incident_state(self) -> tuple[int, int]:
        """Return a pair that changes whenever any incident does: their number and the sum of their versions."""
        async with self._connection() as connection:
            row = await connection.fetchrow("SELECT count(*), coalesce(sum(version), 0)::bigint FROM incidents")
        return (row[0], row[1]) if row else (0, 0)

    async def save_feedback(self, feedback: Feedback) -> None:
        """Write a verdict down, once by its id. Raises `Rejected` for one on a decision that nobody made."""
        body = _json(feedback).decode()
        async with self._connection() as connection:
            if await connection.fetchval("SELECT 1 FROM decisions WHERE id = $1", feedback.decision_id) is None:
                raise Rejected(f"no decision {feedback.decision_id}")
            await connection.execute(_SAVE_FEEDBACK, feedback.id, feedback.decision_id, feedback.verdict, body)

    async def judged_decisions(self) -> list[tuple[Decision, str, bool | None]]:
        """Every decision that a human judged, with verdict and whether the advice worked, oldest verdict first."""
        async with self._connection() as connection:
            rows = await connection.fetch(_JUDGED)
        return [(msgspec.json.decode(row["published"], type=Decision), row["verdict"], row["worked"]) for row in rows]

    async def claim_notification(self, decision_id: str, channel: str) -> str:
        """Claim the right to notify: ``new``, ``uncertain`` (claimed, never finished), ``sent`` or ``refused``."""
        async with self._connection() as connection:
            if await connection.fetchval(_CLAIM, decision_id, channel) is not None:
                return "new"
            state = await connection.fetchval(
                "SELECT state FROM notifications WHERE decision_id = $1 AND channel = $2", decision_id, channel
            )
        return "uncertain" if state == "claimed" else str(state)

    async def finish_notification(
        self, decision_id: str, channel: str, state: str, detail: str | None = None, ts: str | None = None
    ) -> None:
        """Say how a claimed notification ended: ``sent`` or ``refused``."""
        async with self._connection() as connection:
            await connection.execute(_FINISH, decision_id, channel, state, detail, ts)


@asynccontextmanager
async def open_record(database_url: str) -> AsyncIterator[Record]:
    """Open the record at ``database_url``. Raises `Misconfigured` when PostgreSQL does not let us in."""
    try:
        pool = await asyncpg.create_pool(
            database_url, min_size=1, max_size=12, command_timeout=_SECONDS, timeout=_SECONDS
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError) as exc:
        raise Misconfigured("DATABASE_URL", f"PostgreSQL does not let us in: {exc}", "is it running there?") from exc
    try:
        yield Record(pool)
    finally:
        try:
            async with asyncio.timeout(_SECONDS):
                await pool.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            pool.terminate()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as exc:
        state = exc.sqlstate or ""
        if state in _CONFLICTS or state[:2] in _AWAY:
            raise Unavailable("postgres", f"{type(exc).__name__}: {exc}") from exc
        if state[:2] in _BAD_DATA:  # also what the client cannot encode: asyncpg gives that 22000
            raise Rejected(f"PostgreSQL refuses the data: {exc}") from exc
        raise  # a statement that is wrong is our bug
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        raise Unavailable("postgres", f"{type(exc).__name__}: {exc}") from exc


def _json(value: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as exc:
        raise Rejected(f"a string is not Unicode: {exc.reason}") from exc


async def _write_episodes(connection: Any, episodes: Sequence[Episode]) -> None:
    if not episodes:
        return
    openers = [episode.opened_by for episode in episodes]
    anomalies = [opener and opener.anomaly for opener in openers]
    await connection.execute(
        _WRITE_EPISODES,
        [episode.id for episode in episodes],
        [episode.fingerprint for episode in episodes],
        [episode.state for episode in episodes],
        [opener.anomaly_id if opener else "" for opener in openers],
        [episode.occurrences for episode in episodes],
        [anomaly and anomaly.service for anomaly in anomalies],
        [anomaly and anomaly.environment for anomaly in anomalies],
        [anomaly.error_type if anomaly else "" for anomaly in anomalies],
        [anomaly and anomaly.severity for anomaly in anomalies],
        [episode.opened_by.received_at if episode.opened_by else episode.last_seen_at for episode in episodes],
        [episode.last_seen_at for episode in episodes],
    )


async def _write_anomalies(connection: Any, arrivals: Sequence[Arrival], episode_of: dict[str, str | None]) -> None:
    written = await connection.fetch(
        _WRITE_ANOMALIES,
        [arrival.anomaly_id for arrival in arrivals],
        [episode_of[arrival.anomaly_id] for arrival in arrivals],
        [arrival.topic_id for arrival in arrivals],
        [arrival.partition for arrival in arrivals],
        [arrival.offset for arrival in arrivals],
        [arrival.received_at for arrival in arrivals],
        [_json(arrival.anomaly).decode() for arrival in arrivals],
    )
    if len(written) != len(arrivals):
        # The same id under another fingerprint, which our locks do not cover: count again, knowing it.
        raise Unavailable("postgres", "another worker recorded an anomaly of this batch meanwhile")


async def _write_progress(connection: Any, arrivals: Sequence[Arrival]) -> None:
    newest: dict[tuple[str, int], int] = {}
    for arrival in arrivals:
        where = (arrival.topic_id, arrival.partition)
        newest[where] = max(newest.get(where, 0), arrival.offset + 1)
    rows = sorted(newest.items())
    await connection.execute(
        _WRITE_PROGRESS,
        [topic_id for (topic_id, _), _ in rows],
        [partition for (_, partition), _ in rows],
        [offset for _, offset in rows],
    )


# A lock a fingerprint, taken in one order: two workers neither deadlock nor open two episodes of one fault.
_LOCK_FINGERPRINTS = """
SELECT count(pg_advisory_xact_lock(key)) FROM (
    SELECT DISTINCT hashtextextended(fingerprint, 0) AS key FROM unnest($1::text[]) AS fingerprint ORDER BY 1
) AS ordered
"""
_OPEN_EPISODES = """
SELECT id, fingerprint, occurrences, last_seen_at FROM episodes WHERE state = 'open' AND fingerprint = ANY($1)
"""
_OPENINGS = """
SELECT opened_by, id, revision, occurrences FROM episodes
WHERE id IN (SELECT episode_id FROM anomalies WHERE id = ANY($1)) AND opened_by = ANY($1)
"""
_WRITE_EPISODES = """
INSERT INTO episodes (
    id, fingerprint, state, opened_by, occurrences, service, environment, error_type, severity, opened_at, last_seen_at
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::timestamptz[], $11::timestamptz[]
)
ON CONFLICT (id) DO UPDATE
SET state = excluded.state, occurrences = excluded.occurrences, last_seen_at = excluded.last_seen_at
"""
_WRITE_ANOMALIES = """
INSERT INTO anomalies (id, episode_id, topic_id, kafka_partition, kafka_offset, received_at, body)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::integer[], $5::bigint[], $6::timestamptz[], $7::jsonb[]
)
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_WRITE_PROGRESS = """
INSERT INTO progress (topic_id, kafka_partition, next_offset)
SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[])
ON CONFLICT (topic_id, kafka_partition) DO UPDATE
SET next_offset = greatest(progress.next_offset, excluded.next_offset)
"""
_SAVE_DECISION = """
INSERT INTO decisions (
    id, episode_id, anomaly_id, revision, service, error_type, verdict, engine, confidence_score, latency_ms,
    created_at, body, published
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::jsonb, $13)
ON CONFLICT (id) DO NOTHING
"""
_COST_SINCE = "SELECT sum((body->'usage'->>'cost_usd')::float8) FROM decisions WHERE created_at >= $1"
_DECISIONS = """
SELECT published FROM decisions
WHERE ($2::text IS NULL OR service = $2) AND ($3::text IS NULL OR verdict = $3)
  AND ($4::timestamptz IS NULL OR created_at < $4)
ORDER BY created_at DESC, id LIMIT $1
"""
_EPISODES = "SELECT * FROM episodes WHERE $2::text IS NULL OR state = $2 ORDER BY last_seen_at DESC LIMIT $1"
_STATS = """
SELECT
    (SELECT count(*) FROM anomalies) AS anomalies,
    (SELECT count(*) FROM episodes) AS episodes,
    (SELECT count(*) FROM episodes WHERE state = 'open') AS open_episodes,
    (SELECT count(*) FROM decisions) AS decisions,
    (
        SELECT jsonb_object_agg(engine, n) FROM (SELECT engine, count(*) AS n FROM decisions GROUP BY 1) AS e
    ) AS by_engine,
    (
        SELECT jsonb_object_agg(verdict, n) FROM (SELECT verdict, count(*) AS n FROM decisions GROUP BY 1) AS v
    ) AS by_verdict,
    (SELECT count(*) FROM incidents) AS incidents,
    (SELECT count(*) FROM feedback) AS feedback,
    (SELECT count(*) FROM notifications WHERE state = 'sent') AS notifications,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms) AS median_latency_ms,
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms) AS p99_latency_ms
FROM decisions
"""
_UPSERT_INCIDENTS = """
INSERT INTO incidents (id, body) SELECT * FROM unnest($1::text[], $2::jsonb[])
ON CONFLICT (id) DO UPDATE
SET body = excluded.body, version = nextval('incident_versions'), updated_at = now()
WHERE incidents.body IS DISTINCT FROM excluded.body
RETURNING id
"""
_INCIDENTS = """
SELECT body FROM incidents WHERE $1::text[] IS NULL OR id = ANY($1) ORDER BY version DESC LIMIT $2
"""
_SAVE_FEEDBACK = """
INSERT INTO feedback (id, decision_id, verdict, body) VALUES ($1, $2, $3, $4::jsonb) ON CONFLICT (id) DO NOTHING
"""
_JUDGED = """
SELECT decisions.published, feedback.verdict, (feedback.body->>'worked')::boolean AS worked
FROM feedback JOIN decisions ON decisions.id = feedback.decision_id ORDER BY feedback.body->>'created_at'
"""
_CLAIM = """
INSERT INTO notifications (decision_id, channel, state) VALUES ($1, $2, 'claimed')
ON CONFLICT (decision_id, channel) DO NOTHING RETURNING 1
"""
_FINISH = """
UPDATE notifications SET state = $3, detail = $4, ts = $5, finished_at = now() WHERE decision_id = $1 AND channel = $2
"""
