"""Reading: a subscription (a group shares the work), a tail (every replica sees everything), a whole topic."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Partition
from confluent_kafka.admin import AdminClient

from pipeline.errors import Unavailable
from pipeline.kafka.client import Message, away, common, consumer_config, message_of, translated
from pipeline.kafka.topics import layout
from pipeline.settings import Settings

BATCH = 500
WAIT = 0.1
"""Seconds that a poll waits for a first message; it returns at once when one comes."""
HANDOVER = 20.0
"""Seconds that a rebalance waits for the message that is under way."""
LAYOUT_SECONDS = 5.0
"""How long a tail may take to notice that a topic was made anew or has more partitions."""
_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - the library's name for it
log = structlog.get_logger()
Where = tuple[str, int]


class TopicReplaced(Exception):
    """A topic that is followed was deleted and made anew: its offsets begin again, and mean other records."""


class Subscription:
    """A member of a consumer group. Iterate over batches; `commit` one once its effect is durable.

    It polls all the while, so that slow work costs no membership. What a rebalance takes away is not handed out any
    more; the batch that is under way is waited for, up to `HANDOVER` seconds. Who polls makes the commits: while a
    consumer is polled confluent-kafka lets no other thread in, and a rebalance is a part of that.
    """

    def __init__(self, consumer: Consumer, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._topics = list(topics)
        self._lock = threading.Lock()
        self._ready: deque[Message] = deque()
        self._held: set[Where] = set()
        self._current: set[Where] = set()
        self._wanted: deque[tuple[dict[Where, int], Future[None]]] = deque()
        self._stirred = threading.Event()
        self._some = asyncio.Event()
        self._paused: bool | None = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aiter__(self) -> AsyncIterator[list[Message]]:
        try:
            while True:
                yield await self._next()
                self._done()
        finally:
            self._done()

    async def commit(self, batch: Iterable[Message]) -> None:
        """Acknowledge everything up to and including the batch. Raises `Unavailable`; what went to others is theirs."""
        ends: dict[Where, int] = {}
        for message in batch:
            where = (message.topic, message.partition)
            ends[where] = max(ends.get(where, 0), message.offset + 1)
        if self._task is not None and self._task.done():
            raise _ended()
        done: Future[None] = Future()
        self._wanted.append((ends, done))
        self._stirred.set()
        await asyncio.wrap_future(done)

    async def _next(self) -> list[Message]:
        while True:
            self._some.clear()
            with self._lock:
                if self._ready:
                    batch = list(self._ready)
                    self._ready.clear()
                    self._current = {(message.topic, message.partition) for message in batch}
                    return batch
            if self._task is not None and self._task.done():
                self._task.result()
            await self._some.wait()

    def _done(self) -> None:
        with self._lock:
            self._current = set()
        self._stirred.set()

    async def open(self) -> None:
        """Join the group, and begin to poll."""
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        self._task = asyncio.create_task(self._fill(), name="kafka-subscription")
        self._task.add_done_callback(lambda _: self._some.set())

    async def close(self) -> None:
        """Leave the group, once the poll that is under way has returned."""
        self._closing = True
        self._stirred.set()
        if self._task is not None:
            await asyncio.wait([self._task])
        await asyncio.to_thread(self._consumer.close)

    async def _fill(self) -> None:
        try:
            while not self._closing:
                if await asyncio.to_thread(self._poll):
                    self._some.set()
        finally:
            while self._wanted:
                _, done = self._wanted.popleft()
                if done.running() or done.set_running_or_notify_cancel():
                    done.set_exception(_ended())

    def _commit(self) -> None:
        while self._wanted:
            ends, done = self._wanted[0]
            if done.set_running_or_notify_cancel():
                try:
                    self._acknowledge(ends)
                except Unavailable as exc:
                    done.set_exception(exc)
                else:
                    done.set_result(None)
            self._wanted.popleft()

    def _acknowledge(self, ends: dict[Where, int]) -> None:
        # Only what is held now: what was taken since it was wanted would set its new owner back.
        offsets = [Partition(*where, end) for where, end in ends.items() if where in self._held]
        if not offsets:
            raise Unavailable("kafka", "the partitions have gone to another member of the group")
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exc:
            raise Unavailable("kafka", str(exc)) from exc

    def _poll(self) -> bool:
        self._commit()
        full = len(self._ready) >= BATCH
        if full != self._paused:
            # Paused partitions bring nothing, and polling them keeps us in the group.
            (self._consumer.pause if full else self._consumer.resume)(self._consumer.assignment())
            self._paused = full
        messages = list(_messages(_records(self._consumer)))
        with self._lock:
            self._ready.extend(message for message in messages if (message.topic, message.partition) in self._held)
        return bool(messages)

    def _on_assign(self, _: Consumer, partitions: Sequence[Partition]) -> None:
        with self._lock:
            self._held |= {(part.topic, part.partition) for part in partitions}
        self._paused = None  # who knows: librdkafka remembers it of a partition that we had before

    def _on_revoke(self, _: Consumer, partitions: Sequence[Partition]) -> None:
        gone = self._drop(partitions)
        if not self._is_done_with(gone):
            log.warning("handed_over_unfinished", partitions=len(gone))
        with self._lock:
            self._held -= gone

    def _is_done_with(self, gone: set[Where]) -> bool:
        """Wait for the batch that is under way, and commit it."""
        deadline = monotonic() + HANDOVER
        while True:
            self._stirred.clear()
            self._commit()
            if self._closing or not self._current & gone:
                return True
            if not self._stirred.wait(max(deadline - monotonic(), 0)):
                return False

    def _on_lost(self, _: Consumer, partitions: Sequence[Partition]) -> None:
        gone = self._drop(partitions)
        with self._lock:
            self._held -= gone

    def _drop(self, partitions: Sequence[Partition]) -> set[Where]:
        gone = {(part.topic, part.partition) for part in partitions}
        with self._lock:
            self._ready = deque(message for message in self._ready if (message.topic, message.partition) not in gone)
        return gone


def _ended() -> Unavailable:
    return Unavailable("kafka", "the subscription has ended")


@asynccontextmanager
async def subscribe(settings: Settings, topics: Sequence[str], group: str) -> AsyncIterator[Subscription]:
    """Join ``group``: each record goes to one member, from the first one that the group has not acknowledged."""
    # The embedded broker's joins wait half a session.
    session = 6.0 if settings.kafka_is_embedded else settings.kafka_session
    times = {"session.timeout.ms": int(session * 1000), "heartbeat.interval.ms": int(session * 1000 / 6)}
    consumer = Consumer(consumer_config(settings, group) | times | {"auto.offset.reset": "earliest"})
    subscription = Subscription(consumer, topics)
    await subscription.open()
    try:
        yield subscription
    finally:
        await subscription.close()


@asynccontextmanager
async def tail(settings: Settings, topics: Sequence[str], backlog: int) -> AsyncIterator[AsyncIterator[list[Message]]]:
    """Every record of ``topics`` from about ``backlog`` records a partition before the end. No group, no commits.

    An empty batch comes once: when all that was there at the start has come. Raises `TopicReplaced` out of the
    iteration; partitions that are added later are followed from their beginning.
    """
    followed = _Tail(settings, topics, backlog)
    try:
        await asyncio.to_thread(followed.assign)
        yield followed.batches()
    finally:
        await followed.close()


class _Tail:
    def __init__(self, settings: Settings, topics: Sequence[str], backlog: int) -> None:
        # Earliest: where the offset we want is gone (retention, a topic made anew) the next is the first there is.
        own = {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
        self._consumer = Consumer(consumer_config(settings, "pulseguard-tail") | own)
        self._admin = AdminClient(common(settings))
        self._topics = list(topics)
        self._backlog = backlog
        self._behind: set[Where] = set()
        self._layout: dict[str, tuple[str, int]] = {}
        self._looked = monotonic()
        self._polling = threading.Lock()

    async def batches(self) -> AsyncIterator[list[Message]]:
        told = False
        while True:
            batch = await asyncio.to_thread(self._poll)
            if batch:
                yield batch
            if not told and not self._behind:
                told = True
                yield []

    async def close(self) -> None:
        def close() -> None:
            with self._polling:  # a poll that was cancelled goes on in its thread
                self._consumer.close()

        await asyncio.to_thread(close)

    def assign(self) -> None:
        """Begin ``backlog`` records before each partition's end. Raises `Unavailable`."""
        try:
            self._layout = layout(self._admin, self._topics)
            where = {(topic, number) for topic, (_, count) in self._layout.items() for number in range(count)}
            self._consumer.assign([Partition(topic, number, self._start(topic, number)) for topic, number in where])
        except KafkaException as exc:
            raise translated(exc.args[0]) from exc
        self._behind = where

    def _start(self, topic: str, number: int) -> int:
        low, high = self._consumer.get_watermark_offsets(Partition(topic, number), timeout=10)
        start = int(high) - self._backlog
        return start if start > low else int(OFFSET_BEGINNING)

    def _poll(self) -> list[Message]:
        with self._polling:
            if monotonic() - self._looked > LAYOUT_SECONDS:
                self._look()
                self._looked = monotonic()
            records = _records(self._consumer)
            self._behind -= {
                (record.topic(), record.partition())
                for record in records
                if record.error() is not None and record.error().code() == _EOF
            }
            return list(_messages(records))

    def _look(self) -> None:
        try:
            now = layout(self._admin, self._topics)
        except Unavailable:
            return  # away, or deleted and not yet made anew
        for topic, (identity, count) in now.items():
            known, before = self._layout[topic]
            if identity != known:
                raise TopicReplaced(topic)
            if count > before:
                added = [Partition(topic, number, OFFSET_BEGINNING) for number in range(before, count)]
                self._consumer.incremental_assign(added)
        self._layout = now


def _records(consumer: Consumer) -> list[Any]:
    # consume(n, wait) waits for all n; poll returns with the first, and the rest is taken as it lies.
    first = consumer.poll(WAIT)
    return [] if first is None else [first, *consumer.consume(BATCH - 1, 0)]


def _messages(records: Iterable[Any]) -> Iterable[Message]:
    for record in records:
        error = record.error()
        if error is None:
            yield message_of(record)
        elif error.code() != _EOF and not away(error):
            log.warning("consumer_error", topic=record.topic(), partition=record.partition(), detail=error.str())


async def read_all(settings: Settings, topic: str) -> list[Message]:
    """Every record that ``topic`` holds now, in order of arrival."""
    return sorted(await asyncio.to_thread(lambda: list(each(settings, topic))), key=lambda message: message.timestamp)


def each(settings: Settings, topic: str) -> Iterator[Message]:
    """Every record that ``topic`` holds now, one after another: of a partition in its order (blocking)."""
    consumer = Consumer(consumer_config(settings, "pulseguard-read") | {"enable.partition.eof": True})
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
                yield message_of(record)
            elif error.code() == _EOF:
                open_partitions.discard(record.partition())
            else:
                raise translated(error, topic)
    except KafkaException as exc:
        raise translated(exc.args[0], topic) from exc
    finally:
        consumer.close()
