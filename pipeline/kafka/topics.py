"""The topics: made on purpose, checked for rights, known by Kafka's own id."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic

from pipeline.errors import Misconfigured, Unavailable
from pipeline.kafka.client import away, common, consumer_config, translated
from pipeline.kafka.send import LARGEST_RECORD
from pipeline.settings import Settings

_HOUR_MS = 3_600_000
_LEADERS_SECONDS = 30
_GROUPS_SECONDS = 60
_AT_FAULT = {
    KafkaError.INVALID_REPLICATION_FACTOR: "TOPIC_REPLICATION",
    KafkaError.INVALID_PARTITIONS: "TOPIC_PARTITIONS",
    KafkaError.INVALID_CONFIG: "TOPIC_RETENTION_HOURS",
}
_WITHOUT_MEMBERS = {ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD, ConsumerGroupState.UNKNOWN}
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}


def variables(settings: Settings) -> dict[str, str]:
    """Each topic's name → the variable that sets it."""
    return dict(settings.topics)


async def check(settings: Settings, seconds: float = 10) -> None:
    """Raise `Misconfigured`, naming the variable at fault, unless Kafka lets us in."""
    await asyncio.to_thread(_metadata, settings, seconds)


async def ping(settings: Settings) -> None:
    """Raise `Unavailable` unless Kafka answers a metadata request within 3 s."""
    try:
        await asyncio.to_thread(AdminClient(common(settings)).list_topics, timeout=3)
    except KafkaException as exc:
        raise translated(exc.args[0]) from exc


async def create_topics(settings: Settings) -> None:
    """Create the topics that are missing, and wait for their leaders. Raises `Misconfigured`."""
    await asyncio.to_thread(_create_topics, settings)


def _create_topics(settings: Settings) -> None:
    there = _metadata(settings, 10).topics
    missing = [name for name in variables(settings) if name not in there]
    if missing and not settings.topic_create:
        raise Misconfigured(
            variables(settings)[missing[0]], f"topic {missing[0]!r} does not exist, or this user may not see it",
            "create it, or set TOPIC_CREATE=yes",
        )  # fmt: skip
    if not missing:
        return
    admin = AdminClient(common(settings))
    topics = [
        NewTopic(name, settings.topic_partitions, settings.topic_replication, config=_config(settings, name))
        for name in missing
    ]
    for name, future in admin.create_topics(topics, operation_timeout=10, request_timeout=15).items():
        try:
            future.result()
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _refused(settings, name, exc.args[0]) from exc
    _await_leaders(settings, missing)


def _config(settings: Settings, name: str) -> dict[str, str]:
    if name == settings.topic_incidents:
        return {"cleanup.policy": "compact"}
    dead = name == settings.topic_dlq
    wide = dead or name == settings.topic_enriched
    hours = settings.topic_dlq_retention if dead else settings.topic_retention
    kept = {"retention.ms": str(round(hours * _HOUR_MS)) if hours >= 0 else "-1"}
    # A dead letter is its record and the reasons beside it, and an enriched anomaly has its evidence: what the topic
    # of anomalies takes, these must.
    return kept | ({"max.message.bytes": str(LARGEST_RECORD)} if wide else {})


def _refused(settings: Settings, name: str, error: KafkaError) -> Misconfigured:
    if away(error):
        return Misconfigured("KAFKA_BOOTSTRAP_SERVERS", f"no answer from {settings.kafka}: {error.str()}")
    if error.code() in _FORBIDDEN:
        return Misconfigured(
            variables(settings)[name], f"topic {name!r} does not exist, or must not be seen, and this user may not "
            "create it", "create it, or grant the right",
        )  # fmt: skip
    variable = _AT_FAULT.get(error.code(), variables(settings)[name])
    return Misconfigured(variable, f"topic {name!r} cannot be created: {error.str()}")


def _await_leaders(settings: Settings, names: Sequence[str]) -> None:
    """A topic is known to every broker some time after it was made."""
    admin = AdminClient(common(settings))
    deadline = time.monotonic() + _LEADERS_SECONDS
    while True:
        topics = admin.list_topics(timeout=10).topics
        lacking = [name for name in names if name not in topics or not _led(topics[name])]
        if not lacking:
            return
        if time.monotonic() > deadline:
            raise Misconfigured("KAFKA_BOOTSTRAP_SERVERS", f"topic {lacking[0]!r} was made, but has no leader")
        time.sleep(0.1)


def _led(topic: Any) -> bool:
    return bool(topic.partitions) and all(part.leader >= 0 for part in topic.partitions.values())


def _metadata(settings: Settings, seconds: float) -> Any:
    """What Kafka shows of itself. Raises `Misconfigured`."""
    seen: list[KafkaError] = []
    try:
        admin = AdminClient(common(settings) | {"error_cb": seen.append})
    except KafkaException as exc:
        raise Misconfigured("KAFKA_SSL_CA", f"cannot be used: {exc.args[0].str()}") from exc
    try:
        return admin.list_topics(timeout=seconds)
    except KafkaException as exc:
        admin.poll(0)  # hands over what the connections met
        raise _shut_out(settings, {error.code(): error.str() for error in seen}, exc.args[0]) from exc


def _shut_out(settings: Settings, seen: Mapping[int, str], error: KafkaError) -> Misconfigured:
    if KafkaError._AUTHENTICATION in seen:  # noqa: SLF001
        return Misconfigured(
            "KAFKA_SASL_USERNAME", f"is refused by {settings.kafka}: {seen[KafkaError._AUTHENTICATION]}",  # noqa: SLF001
            "check it, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM",
        )  # fmt: skip
    if KafkaError._SSL in seen:  # noqa: SLF001
        return Misconfigured(
            "KAFKA_SSL_CA", f"no TLS with {settings.kafka}: {seen[KafkaError._SSL]}",  # noqa: SLF001
            "name the certificate that signed the broker's, and in KAFKA_BOOTSTRAP_SERVERS the host it is made out to",
        )  # fmt: skip
    return Misconfigured(
        "KAFKA_BOOTSTRAP_SERVERS", f"no answer from {settings.kafka}: {error.str()}",
        f"is Kafka running there, and does that port speak {settings.kafka_security} (KAFKA_SECURITY_PROTOCOL)?",
    )  # fmt: skip


async def check_rights(settings: Settings, reads: Sequence[str], writes: Sequence[str], groups: Sequence[str]) -> None:
    """Raise `Misconfigured` for the first of these topics and groups that this user has no right to."""
    await asyncio.to_thread(_check_rights, settings, reads, writes, groups)


def _check_rights(settings: Settings, reads: Sequence[str], writes: Sequence[str], groups: Sequence[str]) -> None:
    admin = AdminClient(common(settings))
    names = sorted({*reads, *writes})
    found = admin.describe_topics(TopicCollection(names), request_timeout=10, include_authorized_operations=True)
    for name in names:
        allowed = _allowed(found[name], variables(settings)[name], f"topic {name!r}")
        for wanted, right in ((reads, AclOperation.READ), (writes, AclOperation.WRITE)):
            if name in wanted and allowed and right not in allowed:
                raise Misconfigured(
                    variables(settings)[name], f"this user may not {right.name.lower()} topic {name!r}",
                    f"grant {right.name.capitalize()}",
                )  # fmt: skip
    for group in groups:
        allowed = _group_rights(admin, group)
        if allowed and AclOperation.READ not in allowed:
            raise _no_group(group)


def _group_rights(admin: AdminClient, group: str) -> list[AclOperation]:
    """What this user may do with the group. A new Kafka first has to make the topic that it keeps groups in.

    The limit is that long because librdkafka 2.16 may abort the process where such a request runs into its limit.
    """
    deadline = time.monotonic() + _GROUPS_SECONDS
    while True:
        found = admin.describe_consumer_groups(
            [group], request_timeout=_GROUPS_SECONDS, include_authorized_operations=True
        )
        try:
            return _allowed(found[group], "KAFKA_SASL_USERNAME", f"group {group!r}")
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


async def has_members(settings: Settings, group: str) -> bool:
    """Whether the group has any now. Raises `Unavailable`, or `Misconfigured` where we may not see it."""
    return await asyncio.to_thread(_has_members, settings, group)


def _has_members(settings: Settings, group: str) -> bool:
    admin = AdminClient(common(settings))  # kept: with the client its answers go
    found = admin.describe_consumer_groups([group], request_timeout=_GROUPS_SECONDS)
    try:
        # By its state: the embedded broker names no members.
        return found[group].result().state not in _WITHOUT_MEMBERS
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return False
        if exc.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise _no_group(group) from exc
        raise translated(exc.args[0]) from exc


def _allowed(future: Any, variable: str, what: str) -> list[AclOperation]:
    """What this user may do there; nothing where the broker does not say."""
    try:
        return list(future.result().authorized_operations or [])
    except KafkaException as exc:
        if exc.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []  # Kafka 4 says so of a group that nobody has joined yet
        if exc.args[0].code() in {*_FORBIDDEN, KafkaError.GROUP_AUTHORIZATION_FAILED}:
            raise Misconfigured(variable, f"this user may not see {what}", "grant Describe and Read") from exc
        raise translated(exc.args[0]) from exc


def _no_group(group: str) -> Misconfigured:
    return Misconfigured("KAFKA_SASL_USERNAME", f"this user may not join group {group!r}", "grant Read on it")


async def topic_id(settings: Settings, topic: str) -> str:
    """Kafka's own id of a topic: a topic that is made anew, with offsets from 0 again, has another."""
    return (await topic_ids(settings, [topic]))[topic]


async def topic_ids(settings: Settings, topics: Sequence[str]) -> dict[str, str]:
    """Each topic → Kafka's own id of it. Raises `Unavailable`."""
    found = await asyncio.to_thread(layout, AdminClient(common(settings)), topics)
    return {topic: identity for topic, (identity, _) in found.items()}


def layout(admin: AdminClient, topics: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Each topic → Kafka's own id of it and how many partitions it has. Raises `Unavailable`."""
    found = admin.describe_topics(TopicCollection(list(topics)), request_timeout=5)
    try:
        described = {topic: found[topic].result() for topic in topics}
    except KafkaException as exc:
        raise translated(exc.args[0]) from exc
    return {topic: (str(described[topic].topic_id), len(described[topic].partitions)) for topic in topics}


async def is_tansu(settings: Settings) -> bool:
    """Whether the broker is of the embedded kind, wherever it runs: its joins and waiting fetches want short times."""
    metadata = await asyncio.to_thread(_metadata, settings, 10)
    return bool(metadata.cluster_id == "tansu_cluster")


async def prime_group(settings: Settings, group: str) -> None:
    """Make a fresh group of the embedded broker once have a generation.

    Its first generation is 0, in which Faust's client sends no LeaveGroup: the first graceful stop would leave a ghost
    that the next start waits for. Joins with Faust's own timeout and assignor, and leaves. A group that somebody is in
    has a generation, and would only be disturbed.
    """
    await asyncio.to_thread(_prime_group, settings, group)


def _prime_group(settings: Settings, group: str) -> None:
    admin = AdminClient(common(settings))  # kept: with the client its answers go
    try:
        described = admin.describe_consumer_groups([group], request_timeout=10)[group].result()
    except KafkaException as exc:
        raise translated(exc.args[0]) from exc
    if described.state == ConsumerGroupState.STABLE:
        return
    config = {"partition.assignment.strategy": "roundrobin", "session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
    consumer = Consumer(consumer_config(settings, group) | config)
    assigned = threading.Event()
    consumer.subscribe([settings.topic_feedback], on_assign=lambda *_: assigned.set())
    deadline = time.monotonic() + 10
    while not assigned.is_set() and time.monotonic() < deadline:
        consumer.poll(0.05)
    consumer.close()
