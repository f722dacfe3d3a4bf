"""What Slack is still to be told, in the record: taken from the topic, claimed by one poster at a time, marked.

A claim is one transaction under the channel's lock: it sees what waits and what was said, plans the next call, and
writes it down before anybody makes it. A claim whose owner died is taken over after `LEASE` seconds: its message may
then be shown twice, and that is counted. Nobody posts to a channel while another's claim there is alive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from pipeline.errors import Rejected
from pipeline.kafka import Message
from pipeline.sinks.blocks import Member
from pipeline.sinks.plan import Call, Head, Kind, Sent, Told, Waiting, plan, upkeep
from pipeline.sinks.policy import Facts, Matcher, Policy, Silence, Sources, parsed, silenced
from pipeline.stages.episodes import ACTIVE, rank
from pipeline.stages.record import Record
from pipeline.stages.stored import stored
from schemas import SEVERITIES, Decision

log = structlog.get_logger()
LEASE = 20.0
"""Seconds; more than one call to Slack may take."""
PLACES = ("webhook", "log")
"""What stands for a channel where none has a name."""
_MOST = 2000
"""Decisions that are looked at for one call."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is ours to make. ``again``: its first owner may have made it."""

    id: str
    kind: Kind
    about: Sequence[Decision]
    head: Decision | None = None
    place: str | None = None
    members: Sequence[Member] = ()
    shown: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class News:
    """A decision and the record that brought it. ``again``: it is to be told also if it was refused before."""

    decision: Decision
    message: Message
    again: bool = False


@dataclass(frozen=True, slots=True)
class Letter:
    """A decision as it came from Kafka, for its dead letter."""

    decision_id: str
    partition: int
    offset: int
    key: bytes | None
    body: bytes


class Outbox:
    """The tables ``notifications``, ``messages`` and ``silences``. Every call raises `Unavailable` in an outage."""

    def __init__(self, record: Record, policy: Policy, default: str = "log", *, routed: bool = False) -> None:
        """``default`` is the channel where a route names none; with not ``routed`` it is the only one."""
        self._record = record
        self._policy = policy
        self._default = default
        self._routed = routed
        self._owner = uuid4().hex
        self._unreadable: set[str] = set()

    async def take(self, batch: Sequence[News]) -> set[str]:
        """Write down what is to be told; returns the channels. A decision that comes twice is told of once.

        Its channel stays what it was, though its episode may by now be one for another; not where that refused it.
        """
        if not batch:
            return set()
        async with self._record.connection() as connection:
            known = await _episodes(connection, [news.decision for news in batch])
            places = {
                row["decision_id"]: row for row in await connection.fetch(_PLACES, [n.decision.id for n in batch])
            }
            rows: dict[tuple[str, str], tuple[Any, ...]] = {}
            for news in batch:
                decision, message = news.decision, news.message
                place = places.get(decision.id)
                if place is not None and not (news.again and place["refused"]):
                    channel = place["channel"]
                else:
                    facts, _ = known.get(decision.episode_id) or _said(decision)
                    channel = self._channel(facts)
                rows[decision.id, channel] = (
                    decision.id, channel, decision.situation_id or decision.id, rank(decision.severity),
                    message.partition, message.offset, message.key, message.value, news.again,
                )  # fmt: skip
            await connection.execute(_TAKE, *(list(column) for column in zip(*rows.values(), strict=True)))
        return {channel for _, channel in rows}

    def _channel(self, facts: Facts) -> str:
        return (self._policy.route(facts).channel if self._routed else None) or self._default

    async def redirect(self) -> None:
        """Have what waits for a place that is no longer configured go elsewhere."""
        async with self._record.connection() as connection:
            for statement in (_REDIRECT_NOTIFICATIONS, _REDIRECT_MESSAGES):
                await connection.execute(statement, self._default, self._routed, list(PLACES))

    async def channels(self) -> list[str]:
        """Those that have something to be told, whoever took it."""
        async with self._record.connection() as connection:
            return [row["channel"] for row in await connection.fetch(_CHANNELS)]

    async def claim(self, channel: str, *, limited: bool = True) -> Claim | float:
        """The next call to the channel, now ours, or how many seconds until there may be one."""
        async with self._record.connection() as connection, connection.transaction():
            await connection.execute(_LOCK, channel)
            now = await connection.fetchval("SELECT clock_timestamp()")
            row = await connection.fetchrow(_CLAIMED, channel)
            if row is not None:
                left = LEASE - (now - row["leased_at"]).total_seconds()
                return left if left > 0 else await self._taken_over(connection, row)
            waiting = await self._waiting(connection, channel, now)
            told = await _told(connection, channel, {item.situation for item in waiting})
            said = await connection.fetch(_LOG, channel) if limited else []
            sent = [Sent(row["kind"], row["claimed_at"]) for row in said]
            call = plan(waiting, told, sent, self._policy.limits, now)
            if isinstance(call, float):
                heads = await self._heads(connection, channel)
                kept = upkeep(heads, sent, self._policy.limits, now)
                call = min(call, kept) if isinstance(kept, float) else kept
            return call if isinstance(call, float) else await self._claimed(connection, channel, call)

    async def renew(self, claim: Claim) -> bool:
        """Whether the claim is still ours; it is, then, for another `LEASE` seconds."""
        async with self._record.connection() as connection:
            return await connection.fetchval(_RENEW, claim.id, self._owner) is not None

    async def letters(self, claim: Claim) -> list[Letter]:
        """The decisions of the call as they came."""
        async with self._record.connection() as connection:
            rows = await connection.fetch(_LETTERS, claim.id)
        return [Letter(*row) for row in rows]

    async def finish(self, claim: Claim, state: str, detail: str | None = None, place: str | None = None) -> None:
        """Say how the call ended: ``sent`` or ``refused``."""
        async with self._record.connection() as connection, connection.transaction():
            await connection.execute(_FINISH_MESSAGE, claim.id, state, detail, place, claim.shown)
            await connection.execute(_FINISH_NOTIFICATIONS, claim.id, state, detail)
            if claim.kind == "edit":
                await connection.execute(_SHOW, claim.place, claim.shown)

    async def add_silence(self, silence: Silence) -> None:
        """Write it down."""
        async with self._record.connection() as connection:
            await connection.execute(
                _ADD_SILENCE, silence.id, list(silence.matchers), silence.starts_at, silence.ends_at, silence.author,
                silence.comment,
            )  # fmt: skip

    async def silences(self, *, expired: bool = False) -> list[Silence]:
        """Those that are or will be active, or all."""
        async with self._record.connection() as connection:
            return [Silence(**row) for row in await connection.fetch(_SILENCES, expired)]

    async def expire_silence(self, silence_id: str) -> bool:
        """End it now; False where there is none that is not over."""
        async with self._record.connection() as connection:
            return await connection.fetchval(_EXPIRE, silence_id) is not None

    async def _waiting(self, connection: Any, channel: str, now: datetime) -> list[Waiting]:
        """What waits and is not muted; what is muted is written down as such."""
        rows = await connection.fetch(_WAITING, channel, _MOST)
        if not rows:
            return []
        waiting = stored("decision", rows, lambda row: (_decision(row["body"]), row["since"]))
        lost = {row["id"] for row in rows} - {decision.id for decision, _ in waiting}
        known = await _episodes(connection, [decision for decision, _ in waiting])
        silences = await self._active(connection, now)
        sources = await self._sources(connection)
        found: list[Waiting] = []
        muted = dict.fromkeys(lost, "unreadable: of an earlier release")
        for decision, since in waiting:
            facts, going_on = known.get(decision.episode_id) or _said(decision)
            route = self._policy.route(facts)
            why = "shadow" if decision.shadow else self._why_not(decision.episode_id, facts, silences, sources)
            if not why and route.hold_off and not going_on:
                why = f"over within {route.hold_off:g} s"
            if why:
                muted[decision.id] = why
            else:
                found.append(Waiting(decision, since, facts, route, going_on))
        if muted:
            await connection.execute(_MUTE, channel, list(muted), list(muted.values()))
        return found

    async def _active(self, connection: Any, now: datetime) -> list[tuple[str, list[Matcher]]]:
        """The silences of now, parsed. One whose matchers an older release took, and RE2 refuses, mutes nobody."""
        active: list[tuple[str, list[Matcher]]] = []
        for row in await connection.fetch(f"{_SILENCE} WHERE starts_at <= $1 AND ends_at > $1", now):
            silence = Silence(**row)
            try:
                active.append((silence.id, parsed(silence.matchers)))
            except Rejected as exc:
                if silence.id not in self._unreadable:
                    self._unreadable.add(silence.id)
                    log.error("silence_unreadable", silence=silence.id, reason=exc.reason)
        return active

    def _why_not(
        self, episode: str, facts: Facts, silences: Sequence[tuple[str, Sequence[Matcher]]], sources: Sources
    ) -> str | None:  # fmt: skip
        silence = silenced(facts, silences)
        if silence:
            return f"silenced by {silence}"
        source = self._policy.inhibited(facts, sources, episode)
        return f"inhibited by {source}" if source else None

    async def _sources(self, connection: Any) -> Sources:
        if not self._policy.inhibits:
            return []
        rows = await connection.fetch(f"{_EPISODE} WHERE state = ANY($1) ORDER BY ordinal DESC LIMIT {_MOST}", ACTIVE)
        return self._policy.sources((row["id"], _facts(row)) for row in rows)

    async def _heads(self, connection: Any, channel: str) -> list[Head]:
        heads: list[Head] = []
        for row in await connection.fetch(_HEADS, channel):
            repeat = self._policy.route(_facts(row)).repeat if row["going_on"] else 0
            heads.append(
                Head(
                    row["message_id"], row["situation_id"], row["place"], row["shown"] or "", _shown(row),
                    row["last"] + timedelta(seconds=repeat) if repeat else None,
                )
            )  # fmt: skip
        return heads

    async def _claimed(self, connection: Any, channel: str, call: Call) -> Claim:
        name = uuid4().hex
        await connection.execute(_CLAIM, name, channel, call.kind, call.situation, self._owner, call.place)
        await connection.execute(_JOIN, name, channel, [item.decision.id for item in call.about])
        return await self._read(connection, name, call.kind, call.situation, call.place)

    async def _taken_over(self, connection: Any, row: Mapping[str, Any]) -> Claim:
        await connection.execute(_TAKE_OVER, row["id"], self._owner)
        claim = await self._read(connection, row["id"], row["kind"], row["situation_id"], row["place"])
        return replace(claim, again=True)

    async def _read(
        self, connection: Any, name: str, kind: Kind, situation: str | None, place: str | None
    ) -> Claim:  # fmt: skip
        rows = await connection.fetch("SELECT decision_id AS id, body FROM notifications WHERE message_id = $1", name)
        about = stored("decision", rows, lambda row: _decision(row["body"]))
        about.sort(key=lambda decision: (-rank(decision.severity), decision.created_at))
        members: tuple[Member, ...] = ()
        shown, head = "", None
        if situation is not None:
            rows = await connection.fetch(f"{_EPISODE} WHERE situation_id = $1 ORDER BY began_at, ordinal", situation)
            members = tuple(_member(row) for row in rows)
            heads = await connection.fetch(_HEAD_DECISION, situation)
            head = next(iter(stored("decision", heads, lambda row: _decision(row["published"]))), None)
            state = await connection.fetchrow(_SITUATION, situation)
            shown = _shown(state) if state else ""
        return Claim(name, kind, about, head, place, members, shown)


def _decision(body: bytes) -> Decision:
    return msgspec.json.decode(body, type=Decision)


def _facts(row: Mapping[str, Any]) -> Facts:
    fields = {name: row[name] for name in ("service", "error_type", "environment", "severity", "source") if row[name]}
    return msgspec.json.decode(row["labels"] or "{}", type=dict[str, str]) | fields


async def _episodes(connection: Any, decisions: Sequence[Decision]) -> dict[str, tuple[Facts, bool]]:
    """What is known of the decisions' episodes, and whether they go on."""
    rows = await connection.fetch(f"{_EPISODE} WHERE id = ANY($1)", [decision.episode_id for decision in decisions])
    return {row["id"]: (_facts(row), row["state"] in ACTIVE) for row in rows}


def _said(decision: Decision) -> tuple[Facts, bool]:
    """Likewise, of an episode that the record does not know."""
    fields = {"service": decision.service, "error_type": decision.error_type, "severity": decision.severity}
    return {name: text for name, text in fields.items() if text}, True


def _member(row: Mapping[str, Any]) -> Member:
    name = row["error_type"] + (f" on {row['service']}" if row["service"] else "")
    return Member(name, row["state"] in ACTIVE)


def _shown(row: Mapping[str, Any]) -> str:
    """What a head says of its situation, as far as a reader must be told when it changes."""
    return f"{SEVERITIES[row['worst']]}, {row['messages']}" if row["going_on"] else "over"


async def _told(connection: Any, channel: str, situations: set[str]) -> dict[str, Told]:
    rows = await connection.fetch(_TOLD, channel, list(situations)) if situations else []
    return {
        row["situation_id"]: Told(row["head"], row["place"], row["messages"] - 1, row["worst"], row["last"])
        for row in rows
    }


_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('pulseguard.channel.' || $1, 0))"
_PLACES = """
SELECT DISTINCT ON (decision_id) decision_id, channel, state = 'refused' AS refused FROM notifications
WHERE decision_id = ANY($1) ORDER BY decision_id, state = 'refused'
"""
_REDIRECT_MESSAGES = """
UPDATE messages SET channel = $1
WHERE state = 'claimed' AND channel <> $1 AND (NOT $2 OR channel = ANY($3))
"""
# A decision that is in two places, as earlier releases could have it, stays where it is: one place takes it once.
_REDIRECT_NOTIFICATIONS = """
UPDATE notifications AS stray SET channel = $1
WHERE state IN ('waiting', 'claimed') AND channel <> $1 AND (NOT $2 OR channel = ANY($3)) AND NOT EXISTS (
    SELECT FROM notifications WHERE decision_id = stray.decision_id AND channel <> stray.channel
)
"""
_CHANNELS = "SELECT DISTINCT channel FROM notifications WHERE state IN ('waiting', 'claimed')"
_EPISODE = (
    "SELECT id, service, error_type, environment, severity, source, labels, state, began_at, ordinal FROM episodes"
)
_TAKE = """
INSERT INTO notifications (
    decision_id, channel, situation_id, rank, kafka_partition, kafka_offset, key, body, again, state
)
SELECT *, 'waiting' FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::smallint[], $5::integer[], $6::bigint[], $7::bytea[], $8::bytea[],
    $9::boolean[]
)
ON CONFLICT (decision_id, channel) DO UPDATE
SET state = 'waiting', situation_id = excluded.situation_id, rank = excluded.rank,
    kafka_partition = excluded.kafka_partition, kafka_offset = excluded.kafka_offset, key = excluded.key,
    body = excluded.body, message_id = NULL, detail = NULL, finished_at = NULL, since = now()
WHERE (excluded.again AND notifications.state = 'refused')
   OR (notifications.state = 'claimed' AND notifications.message_id IS NULL) -- of a version that knew no messages
"""
# Locked, so that its owner finishes it before it is looked at, or after it was taken over.
_CLAIMED = "SELECT * FROM messages WHERE channel = $1 AND state = 'claimed' ORDER BY claimed_at LIMIT 1 FOR UPDATE"
_WAITING = """
SELECT decision_id AS id, body, since FROM notifications WHERE channel = $1 AND state = 'waiting'
ORDER BY rank DESC, since, decision_id LIMIT $2
"""
_MUTE = """
UPDATE notifications SET state = 'muted', detail = muted.why, body = NULL, finished_at = now()
FROM unnest($2::text[], $3::text[]) AS muted (decision_id, why)
WHERE channel = $1 AND notifications.decision_id = muted.decision_id
"""
_LOG = "SELECT kind, claimed_at FROM messages WHERE channel = $1 AND claimed_at > now() - interval '1 hour'"
_TOLD = """
SELECT notifications.situation_id, count(DISTINCT messages.id)::int AS messages, max(rank)::int AS worst,
    max(messages.claimed_at) AS last, (array_agg(messages.id ORDER BY messages.claimed_at))[1] AS head,
    (array_agg(messages.place ORDER BY messages.claimed_at))[1] AS place
FROM notifications JOIN messages ON messages.id = notifications.message_id
WHERE notifications.channel = $1 AND notifications.situation_id = ANY($2) AND notifications.state = 'sent'
GROUP BY 1
"""
_STATE = """
SELECT bool_or(state IN ('open', 'escalated')) AS going_on,
    max(coalesce(array_position(ARRAY['info', 'warning', 'error', 'critical'], severity), 2)) - 1 AS worst,
    (SELECT count(*) FROM messages WHERE situation_id = wanted AND kind <> 'edit') AS messages,
    (SELECT max(claimed_at) FROM messages WHERE situation_id = wanted AND kind <> 'edit') AS last
FROM episodes WHERE situation_id = wanted HAVING count(*) > 0
"""
_SITUATION = f"SELECT state.* FROM (VALUES ($1)) AS given (wanted), LATERAL ({_STATE}) AS state"  # noqa: S608 - ours
_HEADS = f"""
SELECT head.id AS message_id, head.wanted AS situation_id, head.place, head.shown, state.*, first.*
FROM (
    SELECT id, situation_id AS wanted, place, shown FROM messages
    WHERE channel = $1 AND kind = 'head' AND state = 'sent' AND claimed_at > now() - interval '7 days'
    ORDER BY claimed_at DESC LIMIT 500
) AS head,
LATERAL ({_STATE}) AS state,
LATERAL (
    SELECT service, error_type, environment, severity, source, labels FROM episodes
    WHERE situation_id = wanted ORDER BY ordinal LIMIT 1
) AS first
WHERE head.shown <> 'over' OR state.going_on
"""  # noqa: S608 - ours
_HEAD_DECISION = """
SELECT decisions.id, decisions.published
FROM messages JOIN notifications ON message_id = messages.id JOIN decisions ON decisions.id = decision_id
WHERE messages.situation_id = $1 AND kind = 'head' ORDER BY rank DESC, decisions.created_at LIMIT 1
"""
_CLAIM = """
INSERT INTO messages (id, channel, kind, situation_id, owner, place, state) VALUES ($1, $2, $3, $4, $5, $6, 'claimed')
"""
_JOIN = """
UPDATE notifications SET state = 'claimed', message_id = $1 WHERE channel = $2 AND decision_id = ANY($3)
"""
_TAKE_OVER = "UPDATE messages SET owner = $2, leased_at = clock_timestamp() WHERE id = $1"
_RENEW = """
UPDATE messages SET leased_at = clock_timestamp() WHERE id = $1 AND owner = $2 AND state = 'claimed' RETURNING 1
"""
_LETTERS = """
SELECT decision_id, coalesce(kafka_partition, 0), coalesce(kafka_offset, 0), key, body FROM notifications
WHERE message_id = $1 AND body IS NOT NULL ORDER BY kafka_partition, kafka_offset
"""
_FINISH_MESSAGE = """
UPDATE messages SET state = $2, detail = $3, place = $4, shown = $5, finished_at = now() WHERE id = $1
"""
_FINISH_NOTIFICATIONS = """
UPDATE notifications SET state = $2, detail = $3, body = NULL, finished_at = now() WHERE message_id = $1
"""
_SHOW = "UPDATE messages SET shown = $2 WHERE place = $1 AND kind = 'head'"
_ADD_SILENCE = """
INSERT INTO silences (id, matchers, starts_at, ends_at, author, comment) VALUES ($1, $2, $3, $4, $5, $6)
"""
_SILENCE = "SELECT id, matchers, starts_at, ends_at, author, comment FROM silences"
_SILENCES = f"{_SILENCE} WHERE $1 OR ends_at > now() ORDER BY starts_at, id"
_EXPIRE = "UPDATE silences SET ends_at = now() WHERE id = $1 AND ends_at > now() RETURNING 1"
