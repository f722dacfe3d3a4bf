"""Which offset of a partition may be committed while many events are in flight.

Faust 0.15.3 commits past unfinished events when acknowledgements come out of order (faust/transport/consumer.py:
`_new_offset` lets the head of the line be one off, checks nothing before a first commit, and `on_partitions_revoked`
forgets what is in flight before it is drained). A commit past an unfinished event loses that event at the next crash.
`Progress` replaces that bookkeeping; `TrackedTransport` puts it into Faust's consumer.
"""

import asyncio
import importlib.metadata
from collections import defaultdict
from collections.abc import Coroutine, Generator, Iterator
from typing import Any, Self

from faust.transport.drivers import aiokafka as driver
from faust.types import tuples
from mode import services

WRITTEN_FOR = "0.15.3"
_RACERS = 2


class Progress:
    """What was delivered and finished of one partition since it was assigned.

    The committable offset is that of the oldest unfinished event, or one past the last delivered when all are
    finished. Offsets that Kafka never delivers (compaction, transaction markers) are no gaps here.
    """

    __slots__ = ("_next", "_pending")

    def __init__(self) -> None:
        self._pending: dict[int, None] = {}  # in order of delivery, which is the order of offsets
        self._next: int | None = None

    def deliver(self, offset: int) -> None:
        """An event was handed to a stage. One that is delivered again (below the last) starts the count anew."""
        if self._next is not None and offset < self._next:
            self._pending = dict.fromkeys(sorted({*self._pending, offset}))
        else:
            self._pending[offset] = None
            self._next = offset + 1

    def finish(self, offset: int) -> None:
        """The event's effect is durable."""
        self._pending.pop(offset, None)

    @property
    def committable(self) -> int | None:
        """The offset to commit (the next one to read after a restart), or None while nothing was delivered."""
        return next(iter(self._pending), self._next)


class _ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust fixes 1,500 ms. A broker that does not wake a waiting fetch (the embedded one) turns that into latency.
        consumer._fetch_max_wait_ms = transport.fetch_wait_ms  # noqa: SLF001
        return consumer


class TrackedConsumer(driver.Consumer):  # type: ignore[misc]
    """Faust's consumer with `Progress` in place of its own offset bookkeeping."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._progress: defaultdict[Any, Progress] = defaultdict(Progress)
        deliver: Any = self.callback  # type: ignore[has-type]

        def tracked(message: Any) -> Any:
            self._progress[message.tp].deliver(message.offset)
            return deliver(message)

        self.callback = tracked

    def _new_consumer_thread(self) -> Any:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def ack(self, message: Any) -> bool:
        """Finish the event; True the first time."""
        with tuples.ack_lock:
            if message.acked:
                return False
            message.acked = True
            self._unacked_messages.discard(message)
            if message.tp in self._progress:
                self._progress[message.tp].finish(message.offset)
            _wake(self._waiting_for_ack)
            return True

    async def on_partitions_revoked(self, revoked: set[Any]) -> None:
        """Drain and commit, and only then forget."""
        await super().on_partitions_revoked(revoked)  # drains what is in flight and commits it
        for tp in revoked:
            self._progress.pop(tp, None)

    async def wait_first(self, *waits: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - Faust's
        """The race between the delivery of a record and a stop of the flow, won at once where nothing has to wait.

        Faust makes four tasks for every record, a fifth of a worker's time in a storm, though the stream nearly always
        takes the record at once. So the delivery is begun here, and raced only if it has to wait.
        """
        if len(waits) != _RACERS or timeout is not None or not all(map(asyncio.iscoroutine, waits)):
            return await super().wait_first(*waits, timeout=timeout)
        delivery, stopped = waits
        try:
            waits_for = delivery.send(None)
        except StopIteration as ended:
            stopped.close()
            await asyncio.sleep(0)  # who settles has its turn
            return services.WaitResults([delivery], [ended.value], stopped=False)
        return await super().wait_first(_ended(_Begun(delivery, waits_for)), stopped, timeout=timeout)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[Any]:
        return (tp for tp in list(self._progress) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: Any) -> int | None:
        return self._progress[tp].committable if tp in self._progress else None

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Nothing: `Progress` needs no gaps."""


class TrackedTransport(driver.Transport):  # type: ignore[misc]
    """Faust's Kafka transport with the tracked consumer. ``fetch_wait_ms`` is how long a fetch waits at the broker."""

    Consumer = TrackedConsumer
    fetch_wait_ms = 500


class _Begun(Generator[Any, Any, Any]):
    """A coroutine that was begun by hand and waits for something: awaited, it first waits for that."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def send(self, value: Any) -> Any:
        waits_for, self._waits_for = self._waits_for, None
        return self._coroutine.send(value) if waits_for is None else waits_for

    def throw(self, *error: Any) -> Any:
        self._waits_for = None
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Self:
        return self


async def _ended(begun: _Begun) -> Any:
    return await begun


def _wake(future: Any) -> None:
    """Wake who waits for an acknowledgement, if anybody does."""
    if future is not None and not future.done():
        future.set_result(None)


def check_version() -> None:
    """Refuse a Faust that the tracker was not written against: its private names may have moved."""
    found = importlib.metadata.version("faust-streaming")
    if found != WRITTEN_FOR:
        raise RuntimeError(f"faust-streaming {found} is installed; the offset tracker was written for {WRITTEN_FOR}")
