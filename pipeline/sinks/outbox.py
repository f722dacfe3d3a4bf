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
from pipeline.sinks import outbox_sql as sql
from pipeline.sinks.blocks import Member
from pipeline.sinks.plan import LONG, Call, Head, Kind, Sent, Told, Waiting, plan, upkeep
from pipeline.sinks.policy import Facts, Matcher, Policy, Silence, Sources, parsed, silenced
from pipeline.stages.episodes import ACTIVE, rank
from pipeline.stages.record import Record
from pipeline.stages.stored import stored
from pipeline.words import fault_of
from schemas import SEVERITIES, Decision

log = structlog.get_logger()
LEASE = 20.0
"""Seconds; more than one call to Slack may take."""
PLACES = ("webhook", "log")
"""What stands for a channel where none has a name."""
_AHEAD, _LONG_AGO = timedelta(minutes=1), timedelta(days=1)
_MOST = 2000
"""Decisions that are looked at for one call."""
_UNREADABLE = "unreadable: of an earlier release"


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

    def __init__(
        self, record: Record, policy: Policy, default: str = "log", *, routed: bool = False, shadow: bool = False
    ) -> None:  # fmt: skip
        """``default`` is the channel where a route names none; with not ``routed`` it is the only one.

        In the ``shadow`` no call is planned, nor one taken over: whatever waits is muted.
        """
        self._record = record
        self._policy = policy
        self._default = default
        self._routed = routed
        self._shadow = shadow
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
                row["decision_id"]: row for row in await connection.fetch(sql.PLACES, [n.decision.id for n in batch])
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
            await connection.execute(sql.TAKE, *(list(column) for column in zip(*rows.values(), strict=True)))
        return {channel for _, channel in rows}

    def _channel(self, facts: Facts) -> str:
        return (self._policy.route(facts).channel if self._routed else None) or self._default

    async def redirect(self) -> None:
        """Have what waits for a place that is no longer configured go elsewhere."""
        async with self._record.connection() as connection:
            for statement in (sql.REDIRECT_NOTIFICATIONS, sql.REDIRECT_MESSAGES):
                await connection.execute(statement, self._default, self._routed, list(PLACES))

    async def channels(self) -> list[str]:
        """Those that have something to be told, or messages to be kept up, whoever took it."""
        async with self._record.connection() as connection:
            rows = await connection.fetch(sql.CHANNELS, self._default, self._routed, list(PLACES))
        return [row["channel"] for row in rows]

    async def claim(self, channel: str, *, limited: bool = True) -> Claim | float:
        """The next call to the channel, now ours, or how many seconds until there may be one."""
        async with self._record.connection() as connection, connection.transaction():
            await connection.execute(sql.LOCK, channel)
            now = await connection.fetchval("SELECT clock_timestamp()")
            row = await connection.fetchrow(sql.CLAIMED, channel)
            if row is not None:
                left: float = LEASE - (now - _past(row["leased_at"], now)).total_seconds()
                if left > 0:
                    return left
                if not self._shadow:
                    return await self._taken_over(connection, row)
            if self._shadow:
                await connection.execute(sql.HUSH_MESSAGES, channel)
                await connection.execute(sql.HUSH_NOTIFICATIONS, channel)
                return LONG
            waiting = await self._waiting(connection, channel, now)
            told = await _told(connection, channel, {item.situation for item in waiting}, now)
            said = await connection.fetch(sql.LOG, channel) if limited else []
            sent = [Sent(row["kind"], _past(row["claimed_at"], now)) for row in said]
            call = plan(waiting, told, sent, self._policy.limits, now)
            if isinstance(call, float):
                heads = await self._heads(connection, channel)
                kept = upkeep(heads, sent, self._policy.limits, now)
                call = min(call, kept) if isinstance(kept, float) else kept
            return call if isinstance(call, float) else await self._claimed(connection, channel, call)

    async def renew(self, claim: Claim) -> bool:
        """Whether the claim is still ours; it is, then, for another `LEASE` seconds."""
        async with self._record.connection() as connection:
            return await connection.fetchval(sql.RENEW, claim.id, self._owner) is not None

    async def letters(self, claim: Claim) -> list[Letter]:
        """The decisions of the call as they came."""
        async with self._record.connection() as connection:
            rows = await connection.fetch(sql.LETTERS, claim.id)
        return [Letter(*row) for row in rows]

    async def finish(self, claim: Claim, state: str, detail: str | None = None, place: str | None = None) -> None:
        """Say how the call ended: ``sent`` or ``refused``."""
        async with self._record.connection() as connection, connection.transaction():
            await connection.execute(sql.FINISH_MESSAGE, claim.id, state, detail, place, claim.shown)
            await connection.execute(sql.FINISH_NOTIFICATIONS, claim.id, state, detail)
            if claim.kind == "edit":
                await connection.execute(sql.SHOW, claim.place, claim.shown)

    async def add_silence(self, silence: Silence) -> None:
        """Write it down."""
        async with self._record.connection() as connection:
            await connection.execute(
                sql.ADD_SILENCE, silence.id, list(silence.matchers), silence.starts_at, silence.ends_at, silence.author,
                silence.comment,
            )  # fmt: skip

    async def silences(self, *, expired: bool = False) -> list[Silence]:
        """Those that are or will be active, or all."""
        async with self._record.connection() as connection:
            return [Silence(**row) for row in await connection.fetch(sql.SILENCES, expired)]

    async def expire_silence(self, silence_id: str) -> bool:
        """End it now; False where there is none that is not over."""
        async with self._record.connection() as connection:
            return await connection.fetchval(sql.EXPIRE, silence_id) is not None

    async def _waiting(self, connection: Any, channel: str, now: datetime) -> list[Waiting]:
        """What waits and is not muted; what is muted is written down as such."""
        rows = await connection.fetch(sql.WAITING, channel, _MOST)
        if not rows:
            return []
        waiting = stored("decision", rows, lambda row: (_decision(row["body"]), row["since"]))
        lost = {row["id"] for row in rows} - {decision.id for decision, _ in waiting}
        known = await _episodes(connection, [decision for decision, _ in waiting])
        silences = await self._active(connection, now)
        sources = await self._sources(connection)
        found: list[Waiting] = []
        muted = dict.fromkeys(lost, _UNREADABLE)
        for decision, since in waiting:
            facts, going_on = known.get(decision.episode_id) or _said(decision)
            route = self._policy.route(facts)
            why = "shadow" if decision.shadow else self._why_not(decision.episode_id, facts, silences, sources)
            if not why and route.hold_off and not going_on:
                why = f"over within {route.hold_off:g} s"
            if why:
                muted[decision.id] = why
            else:
                found.append(Waiting(decision, _past(since, now), route))
        if muted:
            await connection.execute(sql.MUTE, channel, list(muted), list(muted.values()))
        return found

    async def _active(self, connection: Any, now: datetime) -> list[tuple[str, list[Matcher]]]:
        """The silences of now, parsed. One whose matchers an older release took, and RE2 refuses, mutes nobody."""
        active: list[tuple[str, list[Matcher]]] = []
        for row in await connection.fetch(f"{sql.SILENCE} WHERE starts_at <= $1 AND ends_at > $1", now):
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
        rows = await connection.fetch(
            f"{sql.EPISODE} WHERE state = ANY($1) ORDER BY ordinal DESC LIMIT {_MOST}", ACTIVE
        )
        return self._policy.sources((row["id"], _facts(row)) for row in rows)

    async def _heads(self, connection: Any, channel: str) -> list[Head]:
        heads: list[Head] = []
        for row in await connection.fetch(sql.HEADS, channel):
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
        await connection.execute(sql.CLAIM, name, channel, call.kind, call.situation, self._owner, call.place)
        await connection.execute(sql.JOIN, name, channel, [item.decision.id for item in call.about])
        return await self._read(connection, name, channel, call.kind, call.situation, call.place)

    async def _taken_over(self, connection: Any, row: Mapping[str, Any]) -> Claim | float:
        await connection.execute(sql.TAKE_OVER, row["id"], self._owner)
        claim = await self._read(connection, row["id"], row["channel"], row["kind"], row["situation_id"], row["place"])
        if not claim.about and claim.kind in {"head", "digest"}:
            await connection.execute(sql.FINISH_MESSAGE, claim.id, "refused", _UNREADABLE, None, "")
            await connection.execute(sql.FINISH_NOTIFICATIONS, claim.id, "muted", _UNREADABLE)
            return 0.0
        return replace(claim, again=True)

    async def _read(
        self, connection: Any, name: str, channel: str, kind: Kind, situation: str | None, place: str | None
    ) -> Claim:  # fmt: skip
        rows = await connection.fetch("SELECT decision_id AS id, body FROM notifications WHERE message_id = $1", name)
        about = stored("decision", rows, lambda row: _decision(row["body"]))
        about.sort(key=lambda decision: (-rank(decision.severity), decision.created_at))
        members: tuple[Member, ...] = ()
        shown, head = "", None
        if situation is not None:
            rows = await connection.fetch(
                f"{sql.EPISODE} WHERE situation_id = $1 ORDER BY began_at, ordinal", situation
            )
            members = tuple(_member(row) for row in rows)
            heads = await connection.fetch(sql.HEAD_DECISION, situation, channel, place)
            head = next(iter(stored("decision", heads, lambda row: _decision(row["published"]))), None)
            state = await connection.fetchrow(sql.SITUATION, situation, channel)
            shown = _shown(state) if state else ""
        return Claim(name, kind, about, head, place, members, shown)


def _decision(body: bytes) -> Decision:
    return msgspec.json.decode(body, type=Decision)


def _facts(row: Mapping[str, Any]) -> Facts:
    fields = {name: row[name] for name in ("service", "error_type", "environment", "severity", "source") if row[name]}
    return msgspec.json.decode(row["labels"] or "{}", type=dict[str, str]) | fields


async def _episodes(connection: Any, decisions: Sequence[Decision]) -> dict[str, tuple[Facts, bool]]:
    """What is known of the decisions' episodes, and whether they go on."""
    rows = await connection.fetch(f"{sql.EPISODE} WHERE id = ANY($1)", [decision.episode_id for decision in decisions])
    return {row["id"]: (_facts(row), row["state"] in ACTIVE) for row in rows}


def _said(decision: Decision) -> tuple[Facts, bool]:
    """Likewise, of an episode that the record does not know."""
    fields = {"service": decision.service, "error_type": decision.error_type, "severity": decision.severity}
    return {name: text for name, text in fields.items() if text}, True


def _member(row: Mapping[str, Any]) -> Member:
    return Member(fault_of(row["error_type"], row["service"]), row["state"] in ACTIVE)


def _shown(row: Mapping[str, Any]) -> str:
    """What a head says of its situation, as far as a reader must be told when it changes."""
    return f"{SEVERITIES[row['worst']]}, {row['messages']}" if row["going_on"] else "over"


async def _told(connection: Any, channel: str, situations: set[str], now: datetime) -> dict[str, Told]:
    rows = await connection.fetch(sql.TOLD, channel, list(situations)) if situations else []
    return {
        row["situation_id"]: Told(row["head"], row["place"], row["messages"] - 1, row["worst"], _past(row["last"], now))
        for row in rows
    }


def _past(moment: datetime, now: datetime) -> datetime:
    """Itself, but long ago where it is yet to come: PostgreSQL's clock was put back, and nobody waits for it again."""
    return moment if moment <= now + _AHEAD else now - _LONG_AGO
