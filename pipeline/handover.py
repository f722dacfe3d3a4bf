"""How Faust's consumer hands records to agents: many at once, and none committed before it is settled.

Faust 0.15.3 hands over every record by itself, which costs more than counting it into its episode does: here one of its
events carries a `Batch`. And it commits past unfinished events when acknowledgements come out of order
(faust/transport/consumer.py: `_new_offset` lets the head of the line be one off, checks nothing before a first commit,
and `on_partitions_revoked` forgets what is in flight before it is drained), which loses them at the next crash:
`Progress` takes the place of that bookkeeping.
"""

import importlib.metadata
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import faust
from aiokafka.errors import IllegalStateError
from faust.exceptions import ConsumerNotStarted
from faust.transport.drivers import aiokafka as driver
from faust.types import tuples
from mode.utils.queues import ThrowableQueue

from pipeline import headers
from pipeline.kafka import Message
from pipeline.offsets import Progress

WRITTEN_FOR = "0.15.3"
BATCH = 500
"""The most records that are handed over at once."""
BATCH_BYTES = 8 * 2**20
"""The most bytes of values, but for a single record: what is counted together must be done within one statement's time.

A fetch is limited too, but before it is unpacked: a megabyte of zstd may be hundreds.
"""


class Place(NamedTuple):
    """Where a partition that is held stands.

    All before ``done`` is settled; None where the client does not know yet where it begins. ``idle``: nothing of it is
    under way, and nothing is in the way of fetching more.
    """

    done: int | None
    idle: bool


class Batch(tuples.ConsumerMessage):  # type: ignore[misc]
    """Records of one partition in their order, as one of Faust's messages: its offset is the last one's."""

    __slots__ = ("records", "weight")

    def __init__(self, tp: Any, records: Sequence[Any], generation: int) -> None:
        last = records[-1]
        super().__init__(
            tp.topic, tp.partition, last.offset, (last.timestamp or 0) / 1000, last.timestamp_type, None, None, None,
            None, 0, 0, tp, generation_id=generation,
        )  # fmt: skip
        self.records = records
        self.weight = sum(map(_weight, records))

    @property
    def offsets(self) -> list[int]:
        """Those of its records."""
        return [record.offset for record in self.records]

    @property
    def messages(self) -> list[Message]:
        """Its records as values of ours."""
        return [
            Message(r.topic, r.partition, r.offset, r.key, r.value, list(r.headers), r.timestamp or 0)
            for r in self.records
        ]


class App(faust.App):  # type: ignore[misc]
    """Faust's app, with buffers that never make the fetching wait."""

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> ThrowableQueue[Any]:  # noqa: N802 - Faust's
        """The buffer of an agent."""
        return _Buffer(maxsize=maxsize, flow_control=self.flow_control, clear_on_resume=clear_on_resume)

    def _create_directories(self) -> None:
        """None: they would hold tables, which we have not, and the working folder may be read-only."""


class _Buffer(ThrowableQueue[Any]):  # type: ignore[misc]
    """Takes all that was fetched, which is in memory anyway, and has the fetching of its topic paused when it is long.

    Faust lets the fetch wait for a buffer that is full, and with it every other topic: a slow model would keep
    anomalies from being counted.
    """

    def full(self) -> bool:
        return False


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes 1,500 ms. A broker that does not wake a waiting fetch (the embedded one) turns that into latency.
        consumer._fetch_max_wait_ms = transport.fetch_wait_ms  # noqa: SLF001
        # As our other clients do: what a producer's transaction took back was never said.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        headers.install()
        return consumer

    async def seek_to_committed(self) -> Any:
        """Seek to what is committed; nowhere where a rebalance takes the partitions away meanwhile.

        What it assigns next begins at what is committed, and Faust seeks once more before the flow goes on.
        """
        return await self.call_thread(_sought, self._ensure_consumer())


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with batches for events, and `Progress` for its own bookkeeping of offsets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress: defaultdict[Any, Progress] = defaultdict(Progress)
        deliver: Any = self.callback  # type: ignore[has-type]

        def tracked(message: Batch) -> Any:
            self._progress[message.tp].deliver(message.offsets)
            return deliver(message)

        self.callback = tracked

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[Any, Batch]]:  # noqa: ASYNC109 - Faust's
        """Fetch, and yield what came as events: of as many records of a partition as may go together in its topic."""
        found, active = await self._wait_next_records(timeout)
        if found is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        generation = self.app.consumer_generation_id
        # What goes in single records is little and urgent: decisions come before the storm that asks for them.
        for tp, records in sorted(found.items(), key=lambda item: self._size(item[0].topic)):
            if not (active is None or tp in active or tp in self._buffered_partitions):
                continue
            self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            for batch in _cut(records, self._size(tp.topic)):
                if not self.flow_active or self.app.consumer_generation_id != generation:
                    return
                yield tp, Batch(tp, batch, generation)

    def _size(self, topic: str) -> int:
        sizes: dict[str, int] = self.transport.batch_sizes
        return sizes.get(topic, 1)

    def on_buffer_full(self, tp: Any) -> None:
        """Pause the whole topic: its partitions share the buffer."""
        for other in self._partitions_beside(tp):
            super().on_buffer_full(other)

    def on_buffer_drop(self, tp: Any) -> None:
        """Fetch the whole topic again."""
        for other in self._partitions_beside(tp):
            super().on_buffer_drop(other)

    def places(self) -> dict[tuple[str, int], Place]:
        """Of each partition that is held, where it stands; empty before the start."""
        try:
            held = self.assignment()
        except ConsumerNotStarted:
            return {}
        busy = {tp.topic for tp, progress in self._progress.items() if not progress.is_idle}
        return {(tp.topic, tp.partition): self._place(tp, busy) for tp in held}

    def _place(self, tp: Any, busy: Collection[str]) -> Place:
        progress = self._progress.get(tp)
        if progress is not None and not progress.is_idle:
            return Place(progress.committable, idle=False)
        # A buffer that is full and holds nothing would be forgotten there.
        return Place(self._position(tp), idle=tp not in self._buffered_partitions or tp.topic not in busy)

    def _position(self, tp: Any) -> int | None:
        """The offset that is fetched next, past what nobody is given, as the end of a transaction."""
        subscription = self._thread._ensure_consumer()._subscription.subscription  # noqa: SLF001
        state = subscription.assignment.state_value(tp) if subscription and subscription.assignment else None
        return int(state.position) if state is not None and state.has_valid_position else None

    def _partitions_beside(self, tp: Any) -> list[Any]:
        return [other for other in self.assignment() if other.topic == tp.topic]

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Batch) -> bool:
        """Finish the records of an event; True the first time."""
        with tuples.ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            if message.tp in self._progress:
                self._progress[message.tp].finish(message.offsets)
            _wake(self._waiting_for_ack)
            return True

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Drain and commit, and only then forget."""
        await super().on_partitions_revoked(revoked)  # drains what is in flight and commits it
        for tp in revoked:
            self._progress.pop(tp, None)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        return (tp for tp in list(self._progress) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: Any) -> int | None:
        return self._progress[tp].committable if tp in self._progress else None

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Nothing: `Progress` needs no gaps."""


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport with that consumer.

    ``fetch_wait_ms`` is how long a fetch waits at the broker, and ``batch_sizes`` how many records of a topic go into
    one event: 1 where nothing is said.
    """

    Consumer = BatchConsumer
    fetch_wait_ms = 500

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batch_sizes: dict[str, int] = {}


async def _sought(consumer: Any) -> dict[Any, int | None]:
    if not consumer.assignment():
        return {}
    try:
        return dict(await consumer.seek_to_committed())
    except IllegalStateError:
        return {}


def _cut(records: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    start = weight = 0
    for place, record in enumerate(records):
        weight += _weight(record)
        if place > start and (place - start == size or weight > BATCH_BYTES):
            yield records[start:place]
            start, weight = place, _weight(record)
    if records:
        yield records[start:]


def _weight(record: Any) -> int:
    return len(record.value or b"")


def _wake(future: Any) -> None:
    """Wake who waits for an acknowledgement, if anybody does."""
    if future is not None and not future.done():
        future.set_result(None)


def check_version() -> None:
    """Refuse a Faust that this was not written against: its private names may have moved."""
    found = importlib.metadata.version("faust-streaming")
    if found != WRITTEN_FOR:
        raise RuntimeError(f"faust-streaming {found} is installed; the hand-over was written for {WRITTEN_FOR}")
