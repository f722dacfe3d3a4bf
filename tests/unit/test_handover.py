"""What Faust's consumer hands over, and when it fetches."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline import handover
from pipeline.handover import BatchConsumer, Place, check_version
from pipeline.kafka import Message
from pipeline.offsets import Progress
from pipeline.settle import Rejection, Turn
from pipeline.worker import in_batches, one_by_one, overlapping

STORM, OTHER, ASKED = TP("anomalies", 0), TP("anomalies", 1), TP("anomalies.enriched", 0)


def records(tp: TP, count: int, first: int = 0, value: bytes | None = b"v") -> list[Any]:
    return [
        ConsumerRecord(
            tp.topic, tp.partition, first + n, 1_700_000_000_123, 0, b"k", value, None, 1, 1, (("ce_id", b"1"),)
        )
        for n in range(count)
    ]


class Consumer(BatchConsumer):
    """The consumer without a broker: ``found`` is what the next fetch brings."""

    def __init__(self, found: dict[TP, list[Any]]) -> None:
        self.found = found
        self.sought = 0
        self.flow_active = True
        self.transport = SimpleNamespace(batch_sizes={"anomalies": 500})
        self.app = SimpleNamespace(
            consumer_generation_id=3, monitor=SimpleNamespace(track_tp_end_offset=lambda *_: None), in_recovery=False
        )
        self._active_partitions, self._buffered_partitions = {STORM, OTHER, ASKED}, set()

    should_stop = False

    async def _wait_next_records(self, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's
        return self.found, set(self._active_partitions)

    async def perform_seek(self) -> None:
        self.sought += 1

    def highwater(self, tp: TP) -> int:
        return 0

    def assignment(self) -> set[TP]:
        return {STORM, OTHER, ASKED}

    async def fetched(self) -> list[tuple[TP, list[int]]]:
        return [(tp, batch.offsets) async for tp, batch in self.getmany(timeout=1)]


async def test_many_records_are_one_event_and_what_asks_for_decisions_comes_first():
    """1,200 anomalies are three events; two enriched ones are two, before them."""
    got = await Consumer({STORM: records(STORM, 1200), ASKED: records(ASKED, 2, 7)}).fetched()
    assert got[:2] == [(ASKED, [7]), (ASKED, [8])]
    assert [(tp, len(offsets)) for tp, offsets in got[2:]] == [(STORM, 500), (STORM, 500), (STORM, 200)]
    assert [offset for _, offsets in got[2:] for offset in offsets] == list(range(1200))


@pytest.mark.parametrize(
    ("bytes_each", "counts"),
    [(2**20, [8, 8, 4]), (2**18, [20]), (5 * 2**20, [1] * 20), (9 * 2**20, [1] * 20), (0, [20])],
)
async def test_what_is_handed_over_at_once_is_limited_in_bytes(bytes_each: int, counts: list[int]):
    """A fetch of a megabyte may unpack to hundreds; a record that is larger than the limit goes alone."""
    got = await Consumer({STORM: records(STORM, 20, value=bytes(bytes_each) or None), OTHER: []}).fetched()
    assert [len(offsets) for _, offsets in got] == counts
    assert [offset for _, offsets in got for offset in offsets] == list(range(20))


@pytest.mark.parametrize(("bytes_each", "counts"), [(0, [100, 500, 500, 100]), (2**20, [100, 100, 100])])
async def test_what_is_worked_on_at_once_is_limited_too(bytes_each: int, counts: list[int]):
    """While three batches are under way the rest is gathered, up to as many records or bytes as go together."""
    size = counts[0]
    events = [
        SimpleNamespace(message=handover.Batch(STORM, records(STORM, size, size * n), 3), ack=lambda: True)
        for n in range(sum(counts) // size)
    ]
    for event in events:
        event.message.weight = bytes_each * size
    began: list[int] = []
    go = asyncio.Event()

    async def work(messages: Sequence[Message], *, turn: Turn) -> list[Rejection]:
        began.append(len(messages))
        async with turn(len(messages)):
            await go.wait()
        return []

    async def stream() -> AsyncIterator[Any]:
        yield events[0]
        while not began:
            await asyncio.sleep(0)
        for event in events[1:]:
            yield event
        go.set()
        while sum(began) < sum(counts):
            await asyncio.sleep(0)

    agents: list[Any] = []
    app: Any = SimpleNamespace(
        transport=SimpleNamespace(batch_sizes={}),
        topic=lambda *_, **__: None,
        agent=lambda *_, **__: agents.append,
    )
    overlapping(app, "anomalies", "counted", work, lambda *_: asyncio.sleep(0))
    running = asyncio.create_task(agents[0](SimpleNamespace(noack=lambda: SimpleNamespace(events=stream))))
    async with asyncio.timeout(10):
        while sum(began) < sum(counts):
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert began == counts


class Fed:
    """An agent of the worker without Faust: three events of two records, and the work on them, which waits for `go`."""

    def __init__(self, feed: str) -> None:
        self.acknowledged: list[int] = []
        self.began: list[int] = []
        self.buried_after: list[list[int]] = []
        self.go = asyncio.Event()
        agents: list[Any] = []
        app: Any = SimpleNamespace(
            transport=SimpleNamespace(batch_sizes={}), topic=lambda *_, **__: None, agent=lambda *_, **__: agents.append
        )
        if feed == "one by one":
            one_by_one(app, "anomalies", "fed", self._work, self._bury, in_flight=2)
        else:
            in_batches(app, "anomalies", "fed", self._work, self._bury)
        self.running = asyncio.create_task(
            agents[0](SimpleNamespace(noack=lambda: SimpleNamespace(events=self._stream)))
        )

    async def _stream(self) -> AsyncIterator[Any]:
        for n in range(3):
            batch = handover.Batch(STORM, records(STORM, 2, 2 * n), 3)
            yield SimpleNamespace(message=batch, ack=partial(self.acknowledged.append, batch.offset))
            await rounds()
        await asyncio.Event().wait()

    async def _work(self, messages: Sequence[Message]) -> list[Rejection]:
        self.began += [message.offset for message in messages]
        await self.go.wait()
        return [(messages[0], "bad")] if messages[0].offset == 2 else []

    async def _bury(self, *_: Any) -> None:
        self.buried_after.append([*self.acknowledged])


async def rounds() -> None:
    """Let everybody go on until all wait."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("feed", "at_once"), [("in batches", [0, 1]), ("one by one", [0, 1, 2, 3])])
async def test_an_event_is_acknowledged_once_it_is_settled(feed: str, at_once: list[int]):
    """Done or a dead letter, and no sooner; no more is under way at once than may be, and what follows has its turn."""
    fed = Fed(feed)
    for _ in range(5):
        await rounds()
    assert (fed.began, fed.acknowledged) == (at_once, [])
    fed.go.set()
    async with asyncio.timeout(10):
        while len(fed.acknowledged) < 3:
            await asyncio.sleep(0)
    assert (sorted(fed.began), sorted(fed.acknowledged)) == (list(range(6)), [1, 3, 5])
    assert [3 in acknowledged for acknowledged in fed.buried_after] == [False]
    fed.running.cancel()
    await asyncio.wait([fed.running])


@pytest.mark.parametrize("feed", ["in batches", "one by one"])
async def test_what_a_stop_cuts_off_is_not_acknowledged(feed: str):
    """It is delivered again."""
    fed = Fed(feed)
    for _ in range(5):
        await rounds()
    fed.running.cancel()
    await asyncio.wait([fed.running])
    assert fed.acknowledged == []


def held(*counts: int) -> tuple[Any, list[handover.Batch]]:
    """A consumer that handed over events of so many records of a partition, and these."""
    consumer: Any = Consumer({})
    consumer._progress, consumer._unacked_messages = defaultdict(Progress), set()
    consumer._waiting_for_ack = asyncio.get_running_loop().create_future()
    starts = [sum(counts[:n]) for n in range(len(counts))]
    events = [handover.Batch(STORM, records(STORM, n, start), 3) for n, start in zip(counts, starts, strict=True)]
    for event in events:
        consumer._progress[STORM].deliver(event.offsets)
        consumer._unacked_messages.add(event)
    return consumer, events


async def test_an_offset_is_committed_when_all_before_it_is_settled():
    """Whichever event is settled first, and once for each; who waits for it is woken."""
    consumer, (first, second) = held(3, 2)
    assert (consumer._new_offset(STORM), consumer._new_offset(OTHER)) == (0, None)
    assert consumer.ack(second)
    assert consumer._waiting_for_ack.done()
    assert (consumer._new_offset(STORM), consumer._unacked_messages) == (0, {first})
    assert [consumer.ack(first), consumer.ack(first)] == [True, False]
    assert consumer._new_offset(STORM) == 5
    assert list(consumer._filter_tps_with_pending_acks({"anomalies"})) == [STORM]


async def test_where_each_partition_stands():
    """By its oldest unfinished record, or by what is fetched next; one whose buffer waits for another's is not idle."""
    consumer, (event,) = held(3)
    consumer._position = lambda _: 7
    consumer._buffered_partitions = {OTHER}
    assert consumer.places() == {
        ("anomalies", 0): Place(0, idle=False), ("anomalies", 1): Place(7, idle=False),
        ("anomalies.enriched", 0): Place(7, idle=True),
    }  # fmt: skip
    consumer.ack(event)
    assert {place.idle for place in consumer.places().values()} == {True}


async def test_what_is_in_flight_is_drained_before_it_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    """A rebalance takes a partition away: what is settled while it waits is committed, and then it begins anew."""
    consumer, (event,) = held(3)
    committed: list[int | None] = []

    async def drained(self: Any, _: set[TP]) -> None:
        self.ack(event)
        committed.append(self._new_offset(STORM))

    monkeypatch.setattr(driver.Consumer, "on_partitions_revoked", drained)
    await consumer.on_partitions_revoked({STORM})
    assert (committed, consumer._new_offset(STORM)) == ([3], None)
    consumer.ack(handover.Batch(STORM, records(STORM, 1, 9), 3))  # late, of a partition that went: nothing of ours
    assert consumer._new_offset(STORM) is None


async def test_a_record_is_what_it_was_in_kafka():
    """Key, value, headers and time in milliseconds, none of them rounded; the event's offset is its last record's."""
    ((_, batch),) = [found async for found in Consumer({STORM: records(STORM, 2, 40)}).getmany(timeout=1)]
    assert batch.messages[0] == Message("anomalies", 0, 40, b"k", b"v", [("ce_id", b"1")], 1_700_000_000_123)
    assert (batch.offset, batch.generation_id, batch.tp, batch.weight) == (41, 3, STORM, 2)


@pytest.mark.parametrize("change", [{"app.consumer_generation_id": 4}, {"flow_active": False}])
async def test_nothing_is_handed_over_after_a_rebalance_began(change: dict[str, Any]):
    """Between two events of a fetch the generation changes, or the flow stops: the rest is left, and fetched again."""
    consumer = Consumer({STORM: records(STORM, 1200)})
    seen = 0
    async for _ in consumer.getmany(timeout=1):
        seen += 1
        for name, value in change.items():
            setattr(consumer.app if name.startswith("app.") else consumer, name.removeprefix("app."), value)
    assert seen == 1


async def test_a_fetch_that_comes_back_while_the_flow_is_stopped_is_sought_back():
    consumer = Consumer({STORM: records(STORM, 10)})
    consumer.flow_active = False
    assert await consumer.fetched() == []
    assert consumer.sought == 1


@pytest.mark.parametrize("lost", ["before", "meanwhile"])
async def test_a_rebalance_while_it_seeks_is_no_crash(lost: str):
    """The partition is taken away before or while the committed offset is asked for: there is nowhere to seek to."""
    subscriptions = SubscriptionState()
    subscriptions.subscribe({"anomalies"})
    subscriptions.assign_from_subscribed({TopicPartition("anomalies", 0)})

    async def committed(_: Any) -> int:
        subscriptions.begin_reassignment()
        subscriptions.assign_from_subscribed(set())
        return 7

    consumer = object.__new__(AIOKafkaConsumer)
    consumer._subscription, consumer.committed = subscriptions, committed  # type: ignore[method-assign]
    consumer._fetcher = SimpleNamespace(seek_to=subscriptions.seek)
    if lost == "before":
        await committed(None)
    thread = object.__new__(handover._ConsumerThread)
    thread._consumer = consumer
    thread.call_thread = lambda call, *args: call(*args)  # type: ignore[method-assign]
    assert await thread.seek_to_committed() == {}


def test_a_long_buffer_pauses_its_whole_topic_and_no_other():
    """The partitions of a topic share the buffer; decisions go on while anomalies wait."""
    consumer = Consumer({})
    consumer.on_buffer_full(STORM)
    assert consumer._active_partitions == {ASKED}
    consumer.on_buffer_drop(STORM)
    assert consumer._active_partitions == {STORM, OTHER, ASKED}


@pytest.mark.parametrize("count", [1, 500])
def test_a_buffer_never_makes_the_fetch_wait(count: int):
    """Faust asks whether it is full before it puts: it never is, and says from when on it is long."""
    buffer = handover._Buffer(maxsize=16, flow_control=None, clear_on_resume=False)
    for number in range(count):
        buffer.force_put_nowait(number)
    assert not buffer.full()
    assert buffer.in_pressure_high_state(lambda: None) is (count > 12)


def test_the_installed_faust_is_the_one_that_this_was_written_for():
    check_version()
