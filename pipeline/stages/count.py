"""A batch of arrivals into the tables, inside one transaction: exact counts, episodes, situations, progress.

One statement for all rows of a kind. Whoever may touch an episode holds the lock of its fingerprint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec

from pipeline.errors import Rejected, Unavailable
from pipeline.stages.episodes import ACTIVE, Arrival, Changes, Episode, Rules, advance
from pipeline.stages.situations import Beginning, Hold, Topology, began, correlate, offers, seeks, situation_id


@dataclass(frozen=True, slots=True)
class Grouping:
    """How anomalies become episodes, and episodes situations. With no ``gap`` every episode is a situation."""

    rules: Rules = Rules()
    gap: timedelta = timedelta(minutes=5)
    topology: Topology = field(default_factory=Topology)


@dataclass(frozen=True, slots=True)
class Opening:
    """An arrival that asks for a decision: it opened an episode, or made it worth another look."""

    anomaly_id: str
    episode_id: str
    revision: int
    occurrences: int
    situation_id: str | None


async def count(connection: Any, arrivals: Sequence[Arrival], grouping: Grouping) -> list[Opening]:
    """Count what was not seen before; returns who asks for a decision, also of what was seen.

    Where no episode opens, which is nearly always in a storm, there are three statements: lock, read, write. The locks
    come in a statement of their own: what is read must be newer than they are.
    """
    ids = [arrival.anomaly_id for arrival in arrivals]
    prints = sorted({arrival.fingerprint for arrival in arrivals})
    await connection.execute(LOCK_FINGERPRINTS, prints)
    seen: set[str] = set()
    latest: dict[str, Episode] = {}
    for row in await connection.fetch(_READ, ids, prints):
        if row["fingerprint"] is None:
            seen.add(row["id"])
        else:
            latest[row["fingerprint"]] = _episode(row)
    fresh = {arrival.anomaly_id: arrival for arrival in reversed(arrivals) if arrival.anomaly_id not in seen}
    in_order = [fresh[a.anomaly_id] for a in arrivals if fresh.get(a.anomaly_id) is a]
    changes = advance(in_order, latest, grouping.rules)
    known = [episode for episode in changes.episodes.values() if episode.opened_by is None]
    new = [episode for episode in changes.episodes.values() if episode.opened_by is not None]
    if new:
        await _place(connection, changes, grouping)
        # Closing comes first: only one episode of a fingerprint may go on.
        await connection.execute(_UPDATE_EPISODES, *_columns(known))
        known = []
        for active in (False, True):
            await _insert_episodes(connection, [episode for episode in new if (episode.state in ACTIVE) is active])
    written = await connection.fetchval(
        _WRITE, *_columns(known), *_anomaly_columns(in_order, changes.episode_of), *_progress_columns(arrivals)
    )
    if written != len(in_order):
        # The same id under another fingerprint, which our locks do not cover: count again, knowing it.
        raise Unavailable("postgres", "another worker recorded an anomaly of this batch meanwhile")
    if not (seen or changes.revisions):
        return []
    await _write_revisions(connection, changes)
    return [Opening(**row) for row in await connection.fetch(_OPENINGS, ids, list(seen), prints)]


def encoded(value: msgspec.Struct) -> bytes:
    """JSON. Raises `Rejected` for what is no Unicode."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as exc:
        raise Rejected(f"a string is not Unicode: {exc.reason}") from exc


def _episode(row: Mapping[str, Any]) -> Episode:
    return Episode(
        row["id"], row["fingerprint"], row["state"], None, row["occurrences"], row["last_seen_at"],
        row["severity"], row["spike"], row["revision"], row["revised_spike"],
        row["decided"], row["situation_id"],
    )  # fmt: skip


async def _place(connection: Any, changes: Changes, grouping: Grouping) -> None:
    """Give each new episode its situation. One batch at a time: two that open one situation must see each other."""
    beginnings = [
        Beginning(episode.id, opener.anomaly, began(opener.anomaly, opener.received_at), opener.received_at)
        for episode in changes.episodes.values()
        if (opener := episode.opened_by) is not None
    ]
    if not beginnings:
        return
    if not grouping.gap:
        for beginning in beginnings:
            changes.episodes[beginning.episode_id].situation_id = situation_id(beginning.episode_id)
        return
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('pulseguard.situations', 0))")
    wanted = {key for b in beginnings for key in (*seeks(b.anomaly, grouping.topology), *offers(b.anomaly))}
    known = {
        row["key"]: Hold(row["situation_id"], row["first_at"], row["last_at"])
        for row in await connection.fetch("SELECT * FROM situation_keys WHERE key = ANY($1)", list(wanted))
    }
    situations, keys = correlate(beginnings, known, grouping.gap, grouping.topology)
    for episode_id, situation in situations.items():
        changes.episodes[episode_id].situation_id = situation
    changed = {key: hold for key, hold in keys.items() if known.get(key) != hold}
    await connection.execute(
        _WRITE_KEYS,
        list(changed),
        [hold.situation_id for hold in changed.values()],
        [hold.first for hold in changed.values()],
        [hold.last for hold in changed.values()],
    )


async def _insert_episodes(connection: Any, episodes: Sequence[Episode]) -> None:
    if not episodes:
        return
    openers = [episode.opened_by for episode in episodes if episode.opened_by is not None]
    anomalies = [opener.anomaly for opener in openers]
    await connection.execute(
        _INSERT_EPISODES,
        *_columns(episodes),
        [episode.fingerprint for episode in episodes],
        [episode.situation_id for episode in episodes],
        [opener.anomaly_id for opener in openers],
        [opener.received_at for opener in openers],
        [began(opener.anomaly, opener.received_at) for opener in openers],
        [anomaly.service for anomaly in anomalies],
        [anomaly.environment for anomaly in anomalies],
        [anomaly.error_type for anomaly in anomalies],
        [anomaly.source for anomaly in anomalies],
        [anomaly.message for anomaly in anomalies],
        [msgspec.json.encode(anomaly.labels).decode() for anomaly in anomalies],
    )


def _columns(episodes: Sequence[Episode]) -> list[list[Any]]:
    return [
        [episode.id for episode in episodes],
        [episode.state for episode in episodes],
        [episode.occurrences for episode in episodes],
        [episode.last_seen_at for episode in episodes],
        [episode.severity for episode in episodes],
        [episode.spike for episode in episodes],
        [episode.revision for episode in episodes],
        [episode.revised_spike for episode in episodes],
        [episode.decided for episode in episodes],
    ]


async def _write_revisions(connection: Any, changes: Changes) -> None:
    if changes.revisions:
        await connection.execute(
            _WRITE_REVISIONS,
            [episode_id for episode_id, _ in changes.revisions],
            [revision for _, revision in changes.revisions],
            [arrival.anomaly_id for arrival in changes.revisions.values()],
        )


def _anomaly_columns(arrivals: Sequence[Arrival], episode_of: dict[str, str | None]) -> list[list[Any]]:
    return [
        [arrival.anomaly_id for arrival in arrivals],
        [episode_of[arrival.anomaly_id] for arrival in arrivals],
        [arrival.topic_id for arrival in arrivals],
        [arrival.partition for arrival in arrivals],
        [arrival.offset for arrival in arrivals],
        [arrival.received_at for arrival in arrivals],
        [encoded(arrival.anomaly).decode() for arrival in arrivals],
    ]


def _progress_columns(arrivals: Sequence[Arrival]) -> list[list[Any]]:
    newest: dict[tuple[str, int], int] = {}
    for arrival in arrivals:
        where = (arrival.topic_id, arrival.partition)
        newest[where] = max(newest.get(where, 0), arrival.offset + 1)
    rows = sorted(newest.items())
    return [
        [topic_id for (topic_id, _), _ in rows],
        [partition for (_, partition), _ in rows],
        [offset for _, offset in rows],
    ]


# A lock a fingerprint, taken in one order: two workers neither deadlock nor open two episodes of one fault.
LOCK_FINGERPRINTS = """
SELECT count(pg_advisory_xact_lock(key)) FROM (
    SELECT DISTINCT hashtextextended(fingerprint, 0) AS key FROM unnest($1::text[]) AS fingerprint ORDER BY 1
) AS ordered
"""
# Ids that were seen, and each fingerprint's latest episode.
_READ = """
SELECT id, NULL AS fingerprint, NULL AS state, NULL::bigint AS occurrences, NULL::timestamptz AS last_seen_at,
    NULL AS severity, NULL::float8 AS spike, NULL::integer AS revision, NULL::float8 AS revised_spike,
    NULL::bigint AS decided, NULL AS situation_id
FROM anomalies WHERE id = ANY($1)
UNION ALL
SELECT latest.* FROM unnest($2::text[]) AS wanted, LATERAL (
    SELECT id, fingerprint, state, occurrences, last_seen_at, severity, spike, revision, revised_spike, decided,
        situation_id
    FROM episodes WHERE fingerprint = wanted ORDER BY ordinal DESC LIMIT 1
) AS latest
"""
# What is seen again is remembered from now on: its producer may repeat it for as long as the fault lasts.
_OPENINGS = """
WITH remembered AS (
    UPDATE episodes SET touched_at = now()
    WHERE id IN (SELECT episode_id FROM anomalies WHERE id = ANY($2)) AND fingerprint = ANY($3)
        AND state NOT IN ('open', 'escalated') AND touched_at < now() - interval '1 day'
),
alone AS (
    UPDATE anomalies SET counted_at = now()
    WHERE id = ANY($2) AND episode_id IS NULL AND counted_at < now() - interval '1 day'
)
SELECT revisions.anomaly_id, episodes.id AS episode_id, revisions.revision, episodes.occurrences, episodes.situation_id
FROM revisions JOIN episodes ON episodes.id = revisions.episode_id WHERE revisions.anomaly_id = ANY($1)
"""
_UPDATE_EPISODES = """
UPDATE episodes SET
    state = new.state, occurrences = new.occurrences, last_seen_at = new.last_seen_at, severity = new.severity,
    spike = new.spike, revision = new.revision, revised_spike = new.revised_spike,
    touched_at = now(), decided = CASE WHEN new.revision = episodes.revision THEN episodes.decided ELSE new.decided END
FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::float8[], $7::integer[], $8::float8[],
    $9::bigint[]
) AS new (id, state, occurrences, last_seen_at, severity, spike, revision, revised_spike, decided)
WHERE episodes.id = new.id
"""
_INSERT_EPISODES = """
INSERT INTO episodes (
    id, state, occurrences, last_seen_at, severity, spike, revision, revised_spike, decided, fingerprint, situation_id,
    opened_by, opened_at, began_at, service, environment, error_type, source, message, labels
)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::float8[], $7::integer[], $8::float8[],
    $9::bigint[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[],
    $16::text[], $17::text[], $18::text[], $19::text[], $20::jsonb[]
)
"""
_WRITE_REVISIONS = """
INSERT INTO revisions (episode_id, revision, anomaly_id) SELECT * FROM unnest($1::text[], $2::integer[], $3::text[])
"""
_WRITE_KEYS = """
INSERT INTO situation_keys (key, situation_id, first_at, last_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[])
ON CONFLICT (key) DO UPDATE
SET situation_id = excluded.situation_id, first_at = excluded.first_at, last_at = excluded.last_at
"""
_WRITE = f"""
WITH updated AS ({_UPDATE_EPISODES}),
written AS (
    INSERT INTO anomalies (id, episode_id, topic_id, kafka_partition, kafka_offset, received_at, body)
    SELECT * FROM unnest(
        $10::text[], $11::text[], $12::text[], $13::integer[], $14::bigint[], $15::timestamptz[], $16::jsonb[]
    )
    ON CONFLICT (id) DO NOTHING RETURNING 1
),
progressed AS (
    INSERT INTO progress (topic_id, kafka_partition, next_offset)
    SELECT * FROM unnest($17::text[], $18::integer[], $19::bigint[])
    ON CONFLICT (topic_id, kafka_partition) DO UPDATE
    SET next_offset = greatest(progress.next_offset, excluded.next_offset)
)
SELECT count(*) FROM written
"""  # noqa: S608 - ours
