"""Kafka through confluent-kafka, the only module that imports it.

A producer that waits for the acknowledgement, a tail (every replica sees everything) and a subscription (a group shares
the work).
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.errors import Misconfigured, Rejected, Unavailable
from pipeline.settings import Settings

Headers = list[tuple[str, bytes]]
BATCH = 500
WAIT = 0.1
"""Seconds that a poll waits for a first message; it returns at once when one comes."""
EMBEDDED_FETCH_WAIT_MS = 25
"""The embedded broker does not wake a waiting fetch: what comes meanwhile waits with it. Shorter costs idle cycles."""
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE}


@dataclass(frozen=True, slots=True)
class Message:
    """One record as it came. ``timestamp`` is milliseconds since the epoch, by Kafka's clock."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class Sender:
    """A producer whose `send` returns once Kafka has acknowledged the record on all in-sync replicas."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(
            _common(settings)
            | {
                "enable.idempotence": True,
                "linger.ms": 2,
                "compression.type": "lz4",
                "message.timeout.ms": 30_000,
                "message.max.bytes": 10_000_000,
            }
        )
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka-sender", daemon=True)
        self._poller.start()

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        """Publish one record. Raises `Unavailable` when Kafka does not acknowledge, `Rejected` when it never will."""
        done: asyncio.Future[None] = self._loop.create_future()

        def settle(error: KafkaError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(_translated(error))

        def on_delivery(error: KafkaError | None, _: Any) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        try:
            self._producer.produce(topic, value=value, key=key, headers=headers or [], on_delivery=on_delivery)
        except BufferError as exc:
            raise Unavailable("kafka", "the producer's queue is full") from exc
        except KafkaException as exc:
            raise _translated(exc.args[0]) from exc
        await done

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)

    async def close(self) -> None:
        """Wait up to 10 s for what is under way, then stop."""
        await asyncio.to_thread(self._producer.flush, 10)
        self._closing.set()
        await asyncio.to_thread(self._poller.join, 2)


class Subscription:
    """A member of a consumer group. Iterate over batches; `commit` a message once its effect is durable."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    async def __aiter__(self) -> AsyncIterator[list[Message]]:
        while True:
            batch = await asyncio.to_thread(_poll_batch, self._consumer)
            if batch:
                yield batch

    async def commit(self, message: Message) -> None:
        """Acknowledge everything of this partition up to and including ``message``."""
        offset = [Partition(message.topic, message.partition, message.offset + 1)]
        try:
            await asyncio.to_thread(self._consumer.commit, offsets=offset, asynchronous=False)
        except KafkaException as exc:
            raise Unavailable("kafka", str(exc)) from exc


@asynccontextmanager
async def subscribe(settings: Settings, topics: Sequence[str], group: str) -> AsyncIterator[Subscription]:
    """Join ``group``: each record goes to one member, from the first one that the group has not acknowledged."""
    consumer = Consumer(
        _consumer(settings, group)
        | {"enable.auto.commit": False, "auto.offset.reset": "earliest"}
        | ({"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000} if settings.kafka_is_embedded else {})
    )
    consumer.subscribe(list(topics))
    try:
        yield Subscription(consumer)
    finally:
        await asyncio.to_thread(consumer.close)


@asynccontextmanager
async def tail(settings: Settings, topics: Sequence[str], backlog: int) -> AsyncIterator[AsyncIterator[list[Message]]]:
    """Every record of ``topics`` from about ``backlog`` records a partition before the end. No group, no commits."""
    consumer = Consumer(_consumer(settings, "pulseguard-tail") | {"enable.auto.commit": False})
    try:
        await asyncio.to_thread(_assign_tail, consumer, topics, backlog)
        yield _batches(consumer)
    finally:
        await asyncio.to_thread(consumer.close)


async def _batches(consumer: Consumer) -> AsyncIterator[list[Message]]:
    while True:
        batch = await asyncio.to_thread(_poll_batch, consumer)
        if batch:
            yield batch


def _assign_tail(consumer: Consumer, topics: Sequence[str], backlog: int) -> None:
    assignment = []
    for topic in topics:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        for number in metadata.partitions:
            low, high = consumer.get_watermark_offsets(Partition(topic, number), timeout=10)
            start = high - backlog
            assignment.append(Partition(topic, number, start if start > low else OFFSET_BEGINNING))
    consumer.assign(assignment)


def _poll_batch(consumer: Consumer) -> list[Message]:
    # consume(n, wait) waits for all n; poll returns with the first, and the rest is taken as it lies.
    first = consumer.poll(WAIT)
    if first is None:
        return []
    records = [first, *consumer.consume(BATCH - 1, 0)]
    return [
        Message(
            record.topic(), record.partition(), record.offset(), record.key(), record.value(),
            record.headers() or [], record.timestamp()[1],
        )
        for record in records
        if record.error() is None
    ]  # fmt: skip


async def read_all(settings: Settings, topic: str) -> list[Message]:
    """Every record that ``topic`` holds now, in order of arrival."""
    return await asyncio.to_thread(_read_all, settings, topic)


def _read_all(settings: Settings, topic: str) -> list[Message]:
    consumer = Consumer(
        _consumer(settings, "pulseguard-read") | {"enable.auto.commit": False, "enable.partition.eof": True}
    )
    messages: list[Message] = []
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([Partition(topic, number, OFFSET_BEGINNING) for number in partitions])
        open_partitions = set(partitions)
        while open_partitions:
            record = consumer.poll(10)
            if record is None:
                raise Unavailable("kafka", f"{topic} could not be read to its end within 10 s")
            error = record.error()
            if error is None:
                messages.append(
                    Message(
                        record.topic(), record.partition(), record.offset(), record.key(), record.value(),
                        record.headers() or [], record.timestamp()[1],
                    )
                )  # fmt: skip
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the library's name for it
                open_partitions.discard(record.partition())
            else:
                raise _translated(error)
    finally:
        consumer.close()
    return sorted(messages, key=lambda message: message.timestamp)


async def create_topics(settings: Settings) -> None:
    """Create the topics that are missing. Raises `Misconfigured` when Kafka cannot be reached."""
    names = [
        settings.topic_anomalies, settings.topic_enriched, settings.topic_decisions,
        settings.topic_dlq, settings.topic_incidents, settings.topic_feedback,
    ]  # fmt: skip
    await asyncio.to_thread(_create_topics, settings, names)


def _create_topics(settings: Settings, names: Sequence[str]) -> None:
    admin = AdminClient(_common(settings))
    compacted = {settings.topic_incidents: {"cleanup.policy": "compact"}}
    topics = [
        NewTopic(name, settings.topic_partitions, settings.topic_replication, config=compacted.get(name, {}))
        for name in names
    ]
    for name, future in admin.create_topics(topics, operation_timeout=10, request_timeout=10).items():
        try:
            future.result()
        except KafkaException as exc:
            error = exc.args[0]
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue
            if _away(error):
                raise Misconfigured(
                    "KAFKA_BOOTSTRAP_SERVERS", f"no answer from {settings.kafka}", "is Kafka running there?"
                ) from exc
            raise Misconfigured("KAFKA_BOOTSTRAP_SERVERS", f"topic {name!r}: {error.str()}") from exc


async def prime_group(settings: Settings, group: str) -> None:
    """Make a fresh group of the embedded broker once have a generation.

    Its first generation is 0, in which Faust's client sends no LeaveGroup: the first graceful stop would leave a ghost
    that the next start waits for. Joins with Faust's own timeout and assignor, and leaves.
    """
    await asyncio.to_thread(_prime_group, settings, group)


def _prime_group(settings: Settings, group: str) -> None:
    config = {"partition.assignment.strategy": "roundrobin", "session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
    consumer = Consumer(_consumer(settings, group) | config | {"enable.auto.commit": False})
    assigned = threading.Event()
    consumer.subscribe([settings.topic_feedback], on_assign=lambda *_: assigned.set())
    deadline = time.monotonic() + 10
    while not assigned.is_set() and time.monotonic() < deadline:
        consumer.poll(0.05)
    consumer.close()


async def topic_id(settings: Settings, topic: str) -> str:
    """Kafka's own id of a topic: a topic that is made anew, with offsets from 0 again, has another."""
    admin = AdminClient(_common(settings))
    future = admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic]
    try:
        description = await asyncio.to_thread(future.result)
    except KafkaException as exc:
        raise _translated(exc.args[0]) from exc
    return str(description.topic_id)


async def is_tansu(settings: Settings) -> bool:
    """Whether the broker is of the embedded kind, wherever it runs: its joins and waiting fetches want short times."""
    try:
        metadata = await asyncio.to_thread(AdminClient(_common(settings)).list_topics, timeout=10)
    except KafkaException as exc:
        raise _translated(exc.args[0]) from exc
    return bool(metadata.cluster_id == "tansu_cluster")


async def ping(settings: Settings) -> None:
    """Raise `Unavailable` unless Kafka answers a metadata request within 3 s."""
    try:
        await asyncio.to_thread(AdminClient(_common(settings)).list_topics, timeout=3)
    except KafkaException as exc:
        raise _translated(exc.args[0]) from exc


def _common(settings: Settings) -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": "pulseguard",
        "log_level": 2,
        "error_cb": lambda _: None,  # librdkafka reconnects by itself; what matters reaches the delivery report
        "reconnect.backoff.max.ms": 2000,
    }


def _consumer(settings: Settings, group: str) -> dict[str, Any]:
    wait = EMBEDDED_FETCH_WAIT_MS if settings.kafka_is_embedded else 500
    return _common(settings) | {"group.id": group, "fetch.wait.max.ms": wait}


def _away(error: KafkaError) -> bool:
    return error.retriable() or error.code() in {
        KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    }  # fmt: skip


def _translated(error: KafkaError) -> Exception:
    if error.code() in _TOO_LARGE:
        return Rejected(f"Kafka refuses the record: {error.str()}")
    return Unavailable("kafka", error.str())
