"""The clients against a broker that goes away, and topics that are made anew."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import uuid4

import pytest
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator, producer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from pipeline import kafka, watch, worker
from pipeline.errors import Unavailable
from pipeline.kafka import consume, send
from pipeline.settings import Settings
from pipeline.settle import Rejection
from tests import brokers
from tests.conftest import on
from tests.program import until
from tests.unit.test_headers import NoText


@pytest.fixture
async def own(request: pytest.FixtureRequest) -> AsyncIterator[brokers.Broker]:
    """A broker that may be killed, of the session's kind."""
    async with brokers.running(brokers.make(request.config.getoption("--broker"))) as broker:
        yield broker


async def test_a_producer_that_gave_up_is_replaced(own: brokers.Broker, monkeypatch: pytest.MonkeyPatch):
    """While the broker is away a record is refused as unavailable; once it is back the same sender is let in again."""
    monkeypatch.setattr(send, "TIMEOUT_MS", 3000)
    settings = on(own)
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    try:
        await sender.send("decisions", b"k", b"before")
        await own.kill()
        with pytest.raises(Unavailable):
            await sender.send("decisions", b"k", b"lost")
        await own.start()
        await acknowledged(sender, settings)
    finally:
        await sender.close()
    values = [message.value for message in await kafka.read_all(settings, "decisions")]
    assert b"after" in values


async def test_a_broker_that_forgot_the_producer_is_sent_to_again(own: brokers.Broker):
    """The broker comes back without its memory before anything fails: the fatal error that this is ends no sender."""
    settings = on(own)
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    try:
        for number in range(3):
            await sender.send("decisions", b"k", f"{number}".encode())
        await own.kill()
        await own.start()
        await acknowledged(sender, settings)
    finally:
        await sender.close()


async def acknowledged(sender: kafka.Sender, settings: Settings) -> None:
    """Have a record acknowledged by a broker that has just come back; the embedded one has forgotten its topics."""
    await kafka.create_topics(settings)

    async def sent() -> bool:
        try:
            async with asyncio.timeout(50):
                await sender.send("decisions", b"k", b"after")
        except Unavailable:
            return False
        return True

    await until(sent, 60, "an acknowledgement")


def topics(settings: Settings) -> Settings:
    """A topic of this test's own."""
    return replace(settings, topic_decisions=f"decisions-{uuid4().hex[:8]}", topic_partitions=2)


async def first(batches: AsyncIterator[list[kafka.Message]], wanted: int) -> list[bytes | None]:
    """The next ``wanted`` values, whatever batches they come in."""
    values: list[bytes | None] = []
    async with asyncio.timeout(60):
        async for batch in batches:
            values += [message.value for message in batch]
            if len(values) >= wanted:
                return values
    raise AssertionError


async def test_a_tail_says_when_the_backlog_has_come_and_goes_on(kafka_server: brokers.Broker):
    """What was there, then one empty batch, then what comes."""
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    try:
        for number in range(5):
            await sender.send(settings.topic_decisions, f"{number}".encode(), f"{number}".encode())
        seen: list[list[kafka.Message]] = []
        async with kafka.tail(settings, [settings.topic_decisions], 100) as batches, asyncio.timeout(60):
            async for batch in batches:
                seen.append(batch)
                if not batch:
                    break
            assert sorted(message.value or b"" for batch in seen for message in batch) == [b"0", b"1", b"2", b"3", b"4"]
            await sender.send(settings.topic_decisions, b"5", b"5")
            assert await first(batches, 1) == [b"5"]
    finally:
        await sender.close()


async def test_a_header_whose_name_is_no_text_stops_no_reader(
    kafka_server: brokers.Broker, monkeypatch: pytest.MonkeyPatch
):
    """Kafka takes any bytes for one: the record comes without its headers, and so does what follows."""
    for module in (message_accumulator, producer):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    topic = settings.topic_decisions
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as foreign:
        await foreign.send_and_wait(topic, b"odd", partition=0, headers=[(NoText("x"), b"1")])
        await foreign.send_and_wait(topic, b"next", partition=0, headers=[("y", b"2")])
    read = [(message.value, message.headers) for message in await kafka.read_all(settings, topic)]
    assert read == [(b"odd", []), (b"next", [("y", b"2")])]
    async with kafka.tail(settings, [topic], 100) as batches:
        assert await first(batches, 2) == [b"odd", b"next"]
    async with kafka.subscribe(settings, [topic], f"group-{uuid4().hex[:8]}") as batches:
        assert await first(aiter(batches), 2) == [b"odd", b"next"]


async def test_a_subscription_whose_poll_fails_under_work_says_so(
    kafka_server: brokers.Broker, monkeypatch: pytest.MonkeyPatch
):
    """Nothing more would come: whoever iterates is told, and does not wait for ever."""
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)

    def fail(_: object) -> list[object]:
        raise RuntimeError("the consumer is broken")

    try:
        await sender.send(settings.topic_decisions, b"k", b"1")
        async with kafka.subscribe(settings, [settings.topic_decisions], f"group-{uuid4().hex[:8]}") as batches:
            following = aiter(batches)
            async with asyncio.timeout(60):
                assert await first(following, 1) == [b"1"]
                monkeypatch.setattr(consume, "_records", fail)
                await asyncio.wait({task for task in asyncio.all_tasks() if task.get_name() == "kafka-subscription"})
                with pytest.raises(RuntimeError, match="is broken"):
                    await anext(following)
    finally:
        await sender.close()


async def test_a_member_that_is_behind_goes_on_after_a_rebalance(
    kafka_server: brokers.Broker, monkeypatch: pytest.MonkeyPatch
):
    """It had paused, as it holds enough for now: what it keeps of its partitions is read again all the same."""
    monkeypatch.setattr(consume, "HANDOVER", 0.1)
    monkeypatch.setattr(consume, "BATCH", 5)
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    sender, group, wanted = kafka.Sender(settings), f"group-{uuid4().hex[:8]}", {f"{n}".encode() for n in range(100)}
    seen: set[bytes | None] = set()

    async def work(batches: AsyncIterator[list[kafka.Message]]) -> None:
        async for batch in batches:
            seen.update(message.value for message in batch)

    async def all_seen() -> bool:
        return seen >= wanted

    try:
        await asyncio.gather(*(sender.send(settings.topic_decisions, value, value) for value in wanted))
        async with kafka.subscribe(settings, [settings.topic_decisions], group) as one:
            following = aiter(one)
            seen.update(await first(following, 1))

            async def is_paused() -> bool:
                return one._paused is True

            await until(is_paused, 30, "a pause")
            async with (
                kafka.subscribe(settings, [settings.topic_decisions], group) as two,
                asyncio.TaskGroup() as tasks,
            ):

                async def is_shared() -> bool:
                    return len(one._held) == len(two._held) == 1

                await until(is_shared, 60, "a rebalance")
                working = [tasks.create_task(work(batches)) for batches in (following, aiter(two))]
                await until(all_seen, 20, "all records")
                for task in working:
                    task.cancel()
    finally:
        await sender.close()


async def test_a_rebalance_waits_for_the_batch_under_way_and_no_longer(kafka_server: brokers.Broker):
    """It is acknowledged while its partitions are still held: nobody gets it again, and nobody waits for `HANDOVER`."""
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    sender, group = kafka.Sender(settings), f"group-{uuid4().hex[:8]}"
    try:
        await asyncio.gather(*(sender.send(settings.topic_decisions, b"%d" % n, b"%d" % n) for n in range(10)))
        async with kafka.subscribe(settings, [settings.topic_decisions], group) as one:
            following = aiter(one)
            batch = await anext(following)
            ready = one._ready

            async def is_asked_for() -> bool:
                return one._ready is not ready  # what was to come is dropped first

            async with kafka.subscribe(settings, [settings.topic_decisions], group) as two:
                await until(is_asked_for, 60, "a rebalance")
                with structlog.testing.capture_logs() as logged:
                    async with asyncio.timeout(consume.HANDOVER / 2):
                        await one.commit(batch)
                    going_on = [asyncio.create_task(anext(batches)) for batches in (following, aiter(two))]

                    async def is_shared() -> bool:
                        return len(one._held) == len(two._held) == 1

                    await until(is_shared, consume.HANDOVER / 2, "its end")
                for task in going_on:
                    task.cancel()
                await asyncio.wait(going_on)
                again = [task.result() for task in going_on if not task.cancelled()]
        assert not logged
        seen = {(message.partition, message.offset) for message in batch}
        assert not seen & {(message.partition, message.offset) for others in again for message in others}
    finally:
        await sender.close()


async def test_a_tail_notices_that_its_topic_was_made_anew(
    kafka_server: brokers.Broker, monkeypatch: pytest.MonkeyPatch
):
    """Its offsets would mean other records: it ends, and says so."""
    if kafka_server.kind == "embedded":
        pytest.skip("a topic that is deleted on the embedded broker crashes librdkafka 2.16 itself, natively")
    monkeypatch.setattr(kafka.consume, "LAYOUT_SECONDS", 0.5)
    settings = topics(on(kafka_server))
    await kafka.create_topics(settings)
    admin = AdminClient({"bootstrap.servers": settings.kafka})
    name = settings.topic_decisions
    async with kafka.tail(settings, [name], 100) as batches, asyncio.timeout(90):
        await asyncio.to_thread(admin.delete_topics([name])[name].result)
        await until(lambda: made(settings), 60, "the topic made anew")
        with pytest.raises(kafka.TopicReplaced, match=name):
            await first(batches, 1)


async def test_nobody_is_behind_on_a_topic_that_is_not_there(kafka_server: brokers.Broker):
    """It was deleted, or may not be seen any more, while the program runs; the embedded broker knows any name."""
    found = await kafka.Behind(on(kafka_server)).lag("nobody", f"nothing-{uuid4().hex[:8]}")
    assert sum(found.values()) == 0


async def made(settings: Settings) -> bool:
    """Make the topic; a broker may need some time to forget the old one."""
    before = await known(settings)
    if before is None:
        await kafka.create_topics(settings)
    return await known(settings) is not None


async def known(settings: Settings) -> str | None:
    try:
        return await kafka.topic_id(settings, settings.topic_decisions)
    except Unavailable:
        return None


@pytest.mark.fails_on("embedded", reason="the embedded broker knows no transactions")
async def test_what_a_producer_took_back_is_handed_to_nobody(kafka_server: brokers.Broker):
    """Of two transactions, the first of which is aborted, the worker is given the second alone."""
    settings = replace(on(kafka_server), topic_anomalies=f"anomalies-{uuid4().hex[:8]}")
    await kafka.create_topics(settings)
    producer = Producer({"bootstrap.servers": kafka_server.bootstrap, "transactional.id": uuid4().hex})
    await asyncio.to_thread(producer.init_transactions, 20)
    for value, end in ((b"taken back", producer.abort_transaction), (b"meant", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(settings.topic_anomalies, value, partition=0)
        await asyncio.to_thread(producer.flush, 20)
        await asyncio.to_thread(end, 20)
    came: list[bytes | None] = []

    async def work(messages: Sequence[kafka.Message]) -> list[Rejection]:
        came.extend(message.value for message in messages)
        return []

    async def bury(*_: object) -> None:
        raise AssertionError("nothing is wrong with it")

    async def meant() -> bool:
        return b"meant" in came

    app, ready, behind = worker.build(settings), asyncio.Event(), kafka.Behind(settings)
    worker.in_batches(app, settings.topic_anomalies, "taken", work, bury)
    running = asyncio.create_task(worker.run(app, ready))

    async def level() -> bool:
        where = (settings.topic_anomalies, 0)
        return worker.places(app, ready).get(where) == ((await behind.ends([where]))[where], True)

    try:
        await until(meant, 60, what="the second transaction")
        await until(level, 30, what="a worker that has passed the transaction's end, which is no record")
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert came == [b"meant"]


async def test_a_worker_that_has_ceased_to_fetch_knows_it_from_one_that_is_kept_waiting(kafka_server: brokers.Broker):
    """The broker says what waits; what is under way in a stage that waits for an outage to end is no stall."""
    settings = replace(on(kafka_server), topic_anomalies=f"anomalies-{uuid4().hex[:8]}", topic_partitions=1)
    await kafka.create_topics(settings)
    settings = replace(settings, kafka_is_embedded=await kafka.is_tansu(settings))
    if settings.kafka_is_embedded:
        await kafka.prime_group(settings, worker.GROUP)
    where = (settings.topic_anomalies, 0)
    goes_on = asyncio.Event()

    async def work(_: Sequence[kafka.Message]) -> list[Rejection]:
        await goes_on.wait()
        return []

    async def bury(*_: object) -> None:
        raise AssertionError("nothing is wrong with it")

    app, ready, behind = worker.build(settings), asyncio.Event(), kafka.Behind(settings)
    worker.in_batches(app, settings.topic_anomalies, "enrich", work, bury)
    running = asyncio.create_task(worker.run(app, ready))
    sender = kafka.Sender(settings)

    said = 0

    async def say(count: int) -> None:
        nonlocal said
        for _ in range(count):
            await sender.send(settings.topic_anomalies, b"k", b"{}")
        said += count

    async def stands(done: int, idle: bool) -> bool:
        return worker.places(app, ready).get(where) == (done, idle)

    async def stalled() -> bool:
        ends = await behind.ends([where])
        stall = watch.Stall()
        found = [stall.look(worker.places(app, ready), ends, now) for now in (0.0, watch.STALLED_SECONDS + 1)]
        return found[1] is not None

    async def stalled_by_more() -> bool:
        await say(1)
        return await stalled()

    try:
        await asyncio.wait_for(ready.wait(), 60)
        await say(3)
        await until(lambda: stands(0, idle=False), 30, what="a stage that waits")
        assert not await stalled()
        goes_on.set()
        await until(lambda: stands(3, idle=True), 30, what="all settled")
        assert (await stalled(), await behind.is_joined(worker.GROUP)) == (False, True)
        app.consumer.stop_flow()  # what is being fetched already still comes
        await until(stalled_by_more, 30, what="what nobody fetches")
        app.consumer.resume_flow()
        await until(lambda: stands(said, idle=True), 30, what="all settled again")
        assert not await stalled()
    finally:
        goes_on.set()
        running.cancel()
        await asyncio.wait([running])
        await sender.close()
