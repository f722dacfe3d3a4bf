"""PostgreSQL, the record: every effect of the pipeline, idempotent by a key that derives from its input.

The only module that speaks to asyncpg; its errors are told apart here, by SQLSTATE: bad data is `Rejected`, an outage
or a conflict of transactions is `Unavailable`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from pipeline.errors import Misconfigured, Rejected, Unavailable
from pipeline.stages import listed
from pipeline.stages.count import Grouping, Opening, count, encoded
from pipeline.stages.episodes import Arrival
from pipeline.stages.lessons import JUDGED, LESSONS, UNLEARN, Lesson, judged_of, lesson_of
from pipeline.stages.provenance import EXPLANATIONS, FORGET, explanation_of
from pipeline.stages.revise import Standing, asked, overdue, revise, standing
from pipeline.stages.save import Made, save
from pipeline.stages.stored import stored
from schemas import Decision, Explanation, Feedback, Incident, TrackRecord

__all__ = ["Arrival", "Background", "Grouping", "Lesson", "Opening", "Record", "Standing", "open_record"]

_BAD_DATA = {"22", "23", "54"}
"""SQLSTATE classes of input that no retry mends: data exception, integrity violation, limit exceeded."""
_AWAY = {"08", "28", "3D", "40", "53", "55", "57", "58"}
"""SQLSTATE classes that pass: connection, who may log in, no such database, rollback, resources, not ready, operator
intervention, system error. Rights that are missing are waited for, as Kafka's are: somebody took them."""
_PASSING = {"23505", "25006", "42501"}
"""Passing too: another worker was first (each insert of ours expects that), a primary that became a replica, rights.

So is what asyncpg remembers of a table that a migration has changed meanwhile: it has forgotten it when it says so.
"""
_OTHER_TABLES = {"42P01", "42703", "42804", "42P10"}
"""No such table, column, type or key: they are another release's, and good data waits until the right one runs."""
_URL = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SECONDS = 10.0
"""The limit of each statement, and of the wait for a connection."""

CLOSED_AT_ONCE = 5000
"""Episodes called quiet by one statement, which has to be done within its limit, however many there are."""


@dataclass(frozen=True, slots=True)
class Background:
    """What a decision speaks of beside its evidence.

    ``occurrences``: distinct anomalies of its episode so far, 0 where there is none; ``track_record``: what the action
    did in the past incidents, None where none took it.
    """

    occurrences: int
    track_record: TrackRecord | None


class Record:
    """The tables, through a pool. Every call raises `Unavailable` while PostgreSQL is away."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self._pool = pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection whose errors are ours. The limit holds for its return too: a dead peer never answers."""
        with _translated():
            async with self._pool.acquire(timeout=_SECONDS) as connection:
                try:
                    yield connection
                except asyncpg.ReadOnlySQLTransactionError:
                    await self._pool.expire_connections()  # to what is the primary no more: the next ones may be
                    raise

    async def ping(self) -> None:
        """Answer, or raise `Unavailable`."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1", timeout=3)

    async def record_arrivals(self, arrivals: Sequence[Arrival], rules: Grouping) -> list[Opening]:
        """Count a batch into its episodes, in one transaction. Ids seen before count nothing.

        Returns an `Opening` for each arrival that asks for a decision, also when it is delivered again: a crash after
        the commit and before the publication is mended by redelivery.
        """
        if not arrivals:
            return []
        async with self.connection() as connection, connection.transaction():
            return await count(connection, arrivals, rules)

    async def close_quiet_episodes(self, quiet_seconds: float) -> int:
        """Call quiet what nothing came for, by the records' clock and by ours; returns how many.

        A backlog's anomalies are old, and their episodes go on while it is worked off. What leads to situations that
        are a month old is forgotten with it.
        """
        async with self.connection() as connection:
            await connection.execute("DELETE FROM situation_keys WHERE last_at < now() - interval '30 days'")
            closed, count = 0, CLOSED_AT_ONCE
            while count == CLOSED_AT_ONCE:
                count = len(await connection.fetch(_CLOSE_QUIET, timedelta(seconds=quiet_seconds), CLOSED_AT_ONCE))
                closed += count
        return closed

    async def standing(self, most: int, revisions: int) -> list[Standing]:
        """Episodes whose newest revision is decided and that may have another one, the newest first."""
        async with self.connection() as connection:
            return await standing(connection, most, revisions)

    async def overdue(self, after: timedelta) -> list[Standing]:
        """Revisions that `revise` made so long ago, and that have no decision; each is told until it is `asked`."""
        async with self.connection() as connection:
            return await overdue(connection, after)

    async def asked(self, found: Standing) -> None:
        """An overdue revision was asked for again."""
        async with self.connection() as connection:
            await asked(connection, found)

    async def revise(self, found: Standing) -> Standing | None:
        """Give an episode another revision for what was learned; None where somebody else was first."""
        async with self.connection() as connection, connection.transaction():
            return await revise(connection, found)

    async def situations(self, *, limit: int = 50, only: str | None = None) -> list[dict[str, Any]]:
        """Situations, or ``only`` one, each with its episodes in the order they began.

        First those that go on, and among equals the one that was decided about last.
        """
        async with self.connection() as connection:
            return await listed.situations(connection, limit, only)

    async def decision_body(self, decision_id: str) -> bytes | None:
        """Return the bytes of a decision as they are published, or None where none was made."""
        return (await self.decision_bodies([decision_id]))[0]

    async def decision_bodies(self, ids: Sequence[str]) -> list[bytes | None]:
        """As `decision_body`, of each."""
        async with self.connection() as connection:
            rows = await connection.fetch("SELECT id, published FROM decisions WHERE id = ANY($1)", list(ids))
        found = {row["id"]: bytes(row["published"]) for row in rows}
        return [found.get(decision_id) for decision_id in ids]

    async def backgrounds(self, asked: Sequence[tuple[str, str]]) -> list[Background]:
        """What decisions speak of beside their evidence, by the id of the episode and the action's name."""
        episodes, actions = {episode for episode, _ in asked}, {action for _, action in asked}
        async with self.connection() as connection:
            counts = await connection.fetch("SELECT id, occurrences FROM episodes WHERE id = ANY($1)", list(episodes))
            done = await connection.fetch(_TRACK_RECORDS, list(actions))
        occurrences = {row["id"]: row["occurrences"] for row in counts}
        records = {row["action"]: msgspec.convert({**row}, TrackRecord) for row in done}
        return [Background(occurrences.get(episode, 0), records.get(action)) for episode, action in asked]

    async def save_decisions(self, made: Sequence[Made]) -> list[bytes]:
        """Write decisions down, and what they came of; the first writer of an id wins, and its bytes are returned."""
        async with self.connection() as connection, connection.transaction():
            saved: dict[str, bytes | None] = {**await save(connection, made)}
        lost = [decision.id for decision, _ in made if decision.id not in saved]
        if lost:
            saved.update(zip(lost, await self.decision_bodies(lost), strict=True))
        return [saved[decision.id] or encoded(decision) for decision, _ in made]

    async def cost_since(self, since: datetime) -> float:
        """US dollars that the decisions since then have cost, where that is known."""
        async with self.connection() as connection:
            return await connection.fetchval(_COST_SINCE, since) or 0.0

    async def decisions(
        self, *, limit: int = 50, service: str | None = None, verdict: str | None = None,
        before: datetime | None = None, before_id: str | None = None, episodes: Sequence[str] | None = None,
    ) -> list[Decision]:  # fmt: skip
        """Decisions, newest first, those of one time by id. ``episodes``: of these alone.

        A page goes on behind its last one: ``before`` is when that was made, ``before_id`` its id. Without the id, the
        others of that very time are passed over.
        """
        async with self.connection() as connection:
            return await listed.decisions(connection, (limit, service, verdict, before, before_id), episodes)

    async def explanations(
        self, *, decision_id: str | None = None, since: datetime | None = None, until: datetime | None = None,
        limit: int = 1,
    ) -> list[Explanation]:  # fmt: skip
        """Decisions, newest first, each with all that is kept of how it came about."""
        async with self.connection() as connection:
            rows = await connection.fetch(EXPLANATIONS, decision_id, since, until, limit)
        return stored("decision", rows, explanation_of)

    async def forget_provenance(self, before: datetime) -> int:
        """Delete that of the oldest decisions made ``before``, a thousand at most; returns how many."""
        async with self.connection() as connection:
            return len(await connection.fetch(FORGET, before))

    async def episodes(self, *, limit: int = 50, state: str | None = None) -> list[dict[str, Any]]:
        """Episodes, the last seen first."""
        async with self.connection() as connection:
            return await listed.episodes(connection, limit, state)

    async def stats(self) -> dict[str, Any]:
        """Count everything, and measure the latency of decisions in milliseconds."""
        async with self.connection() as connection:
            row = await connection.fetchrow(listed.STATS)
        found = dict(row or {})
        return found | {name: msgspec.json.decode(found[name] or "{}") for name in ("by_engine", "by_verdict")}

    async def upsert_incidents(self, incidents: Sequence[Incident]) -> int:
        """Write incidents; returns how many are new or changed. An unchanged one keeps its version."""
        if not incidents:
            return 0
        newest = {incident.id: encoded(incident).decode() for incident in incidents}
        ids = sorted(newest)  # in one order: two writers do not deadlock
        async with self.connection() as connection:
            rows = await connection.fetch(_UPSERT_INCIDENTS, ids, [newest[name] for name in ids])
        return len(rows)

    async def incidents(self, *, ids: Sequence[str] | None = None, limit: int | None = None) -> list[Incident]:
        """Incidents by id, or the newest ones. What cannot be read any more is missing: load it anew, or retire it."""
        async with self.connection() as connection:
            rows = await connection.fetch(_INCIDENTS, None if ids is None else list(ids), limit)
        return stored("incident", rows, lambda row: msgspec.json.decode(row["body"], type=Incident))

    async def has_incident(self, incident_id: str) -> bool:
        """Whether there is one of that id, also one that cannot be read any more."""
        async with self.connection() as connection:
            return await connection.fetchval("SELECT 1 FROM incidents WHERE id = $1", incident_id) is not None

    async def retire_incidents(self, ids: Sequence[str]) -> int:
        """Forget incidents; returns how many there were."""
        if not ids:
            return 0
        async with self.connection() as connection:
            return len(await connection.fetch("DELETE FROM incidents WHERE id = ANY($1) RETURNING 1", list(ids)))

    async def incident_versions(self) -> dict[str, int]:
        """Each incident's version; it rises with each change."""
        async with self.connection() as connection:
            return {row["id"]: row["version"] for row in await connection.fetch("SELECT id, version FROM incidents")}

    async def incident_state(self) -> tuple[int, int]:
        """Return a pair that changes whenever any incident does: their number and the sum of their versions."""
        async with self.connection() as connection:
            row = await connection.fetchrow("SELECT count(*), coalesce(sum(version), 0)::bigint FROM incidents")
        return (row[0], row[1]) if row else (0, 0)

    async def save_feedback(self, feedback: Feedback) -> None:
        """Write a verdict down, once by its id. Raises `Rejected` for one on a decision that nobody made."""
        body = encoded(_in_utc(feedback)).decode()
        async with self.connection() as connection:
            if await connection.fetchval("SELECT 1 FROM decisions WHERE id = $1", feedback.decision_id) is None:
                raise Rejected(f"no decision {feedback.decision_id}")
            await connection.execute(_SAVE_FEEDBACK, feedback.id, feedback.decision_id, feedback.verdict, body)

    async def feedback(self, limit: int) -> list[Feedback]:
        """Verdicts, newest first."""
        async with self.connection() as connection:
            rows = await connection.fetch("SELECT id, body FROM feedback ORDER BY created_at DESC, id LIMIT $1", limit)
        return stored("feedback", rows, lambda row: msgspec.json.decode(row["body"], type=Feedback))

    async def lessons(self, limit: int = 100) -> list[Lesson]:
        """Verdicts that say how it went, or whose episode is resolved, and that nothing was learned from; in order."""
        async with self.connection() as connection:
            rows = await connection.fetch(LESSONS, limit)
        found = stored("feedback", rows, lesson_of)
        for name in {row["id"] for row in rows} - {lesson.feedback.id for lesson in found}:
            await self.learned(name)
        return found

    async def learned(self, feedback_id: str) -> None:
        """Something was learned from that verdict, or nothing ever will be."""
        async with self.connection() as connection:
            await connection.execute("UPDATE feedback SET learned = true WHERE id = $1", feedback_id)

    async def unlearn(self, episode_id: str) -> None:
        """What was learned of an episode is retired: the last of what was said of it that stands is due again."""
        async with self.connection() as connection:
            await connection.execute(UNLEARN, episode_id)

    async def judged_decisions(self) -> list[tuple[Decision, Feedback]]:
        """Every decision that a human judged, with the verdict, oldest verdict first."""
        async with self.connection() as connection:
            rows = await connection.fetch(JUDGED)
        return judged_of(rows)


def _in_utc(feedback: Feedback) -> Feedback:
    """PostgreSQL reads a time's offset up to 16 hours only, and verdicts are ordered there."""
    if feedback.created_at is None:
        return feedback
    try:
        return msgspec.structs.replace(feedback, created_at=feedback.created_at.astimezone(UTC))
    except OverflowError as exc:
        raise Rejected("created_at is out of range in UTC") from exc


@asynccontextmanager
async def open_record(database_url: str) -> AsyncIterator[Record]:
    """Open the record at ``database_url``. Raises `Misconfigured` when PostgreSQL does not let us in."""
    try:
        pool = await asyncpg.create_pool(
            database_url, min_size=1, max_size=12, command_timeout=_SECONDS, timeout=_SECONDS, reset=_as_it_is
        )
    except (ValueError, OverflowError) as exc:
        # asyncpg's own words name no secret; those of the parsers below it may quote a piece of the password.
        why = f": {exc}" if isinstance(exc, asyncpg.ClientConfigurationError) else ""
        raise Misconfigured("DATABASE_URL", f"is no PostgreSQL URL{why}", _URL) from exc
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        raise Misconfigured("DATABASE_URL", f"PostgreSQL does not let us in: {exc}", "is it running there?") from exc
    try:
        yield Record(pool)
    finally:
        try:
            async with asyncio.timeout(_SECONDS):
                await pool.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            pool.terminate()


async def _as_it_is(_: Any) -> None:
    """Lend a connection again without a round trip: nothing here sets, listens or locks for longer than a transaction.

    One that is open nevertheless was rolled back before.
    """


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as exc:
        state = exc.sqlstate or ""
        if state in _PASSING or state[:2] in _AWAY or isinstance(exc, asyncpg.InvalidCachedStatementError):
            raise Unavailable("postgres", f"{type(exc).__name__}: {exc}") from exc
        if state in _OTHER_TABLES:
            said = f"the tables are not this release's, which a restart mends or names: {type(exc).__name__}: {exc}"
            raise Unavailable("postgres", said) from exc
        if state[:2] in _BAD_DATA:  # also what the client cannot encode: asyncpg gives that 22000
            raise Rejected(f"PostgreSQL refuses the data: {exc}") from exc
        raise  # a statement that is wrong is our bug
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as exc:
        raise Unavailable("postgres", f"{type(exc).__name__}: {exc}") from exc


_COST_SINCE = "SELECT sum((body->'usage'->>'cost_usd')::float8) FROM decisions WHERE created_at >= $1"
# What is being counted is not quiet, and is not waited for.
_CLOSE_QUIET = """
UPDATE episodes SET state = 'quiet' WHERE id = ANY(ARRAY(
    SELECT id FROM episodes
    WHERE state IN ('open', 'escalated') AND last_seen_at < now() - $1::interval AND touched_at < now() - $1::interval
    LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING 1
"""
_TRACK_RECORDS = """
SELECT action, count(*) AS times, count(*) FILTER (WHERE outcome IN ('resolved', 'mitigated')) AS worked,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY minutes) FILTER (WHERE outcome IN ('resolved', 'mitigated'))
        AS recovery_minutes
FROM (
    SELECT body->'action'->>'name' AS action, body->>'outcome' AS outcome,
        (body->>'recovery_minutes')::float8 AS minutes
    FROM incidents WHERE body->'action'->>'name' = ANY($1)
) AS done
GROUP BY action
"""
_UPSERT_INCIDENTS = """
INSERT INTO incidents (id, body) SELECT * FROM unnest($1::text[], $2::jsonb[])
ON CONFLICT (id) DO UPDATE
SET body = excluded.body, version = nextval('incident_versions'), updated_at = now()
WHERE incidents.body IS DISTINCT FROM excluded.body
RETURNING id
"""
_INCIDENTS = """
SELECT id, body FROM incidents WHERE $1::text[] IS NULL OR id = ANY($1) ORDER BY version DESC LIMIT $2
"""
_SAVE_FEEDBACK = """
INSERT INTO feedback (id, decision_id, verdict, body) VALUES ($1, $2, $3, $4::jsonb) ON CONFLICT (id) DO NOTHING
"""
