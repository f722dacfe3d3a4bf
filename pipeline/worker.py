"""The Faust worker: raw bytes from topics to stages, many events in flight, each acknowledged when it is settled.

A Faust agent that raises loses its event, so nothing leaves an agent's body: `settle` gives every message a fate, and
only then is the event acknowledged.
"""

import asyncio
import logging
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

import faust
import structlog

from pipeline import handover, headers, kafka, metrics
from pipeline.kafka import Message
from pipeline.settings import Settings
from pipeline.settle import Bury, Rejection, Turn, Work, WorkInTurn, settle

GROUP = "pulseguard"
_AT_ONCE = 3
"""Batches that overlap: one is read, one is counted, and one asks for its decisions."""
_WAITING = 16
"""Events that an agent holds beside those at work: they are settled before a stop or a rebalance ends."""
DRAIN_SECONDS = 25.0
"""How long a stop waits for what is in flight; more than a model call may take."""

log = structlog.get_logger()


def build(settings: Settings) -> faust.App:
    """The Faust app, with no agents yet. The embedded broker's joins wait half a session, so its session is short."""
    handover.check_version()
    headers.check_version()
    logging.getLogger("faust").setLevel(logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("mode").setLevel(logging.ERROR)
    logging.getLogger(handover.__name__).setLevel(logging.ERROR)  # Faust names its consumer's log after our module
    url = f"kafka://{(settings.kafka or '').replace(',', ';kafka://')}"
    app = handover.App(
        GROUP,
        broker=url,
        broker_credentials=_credentials(settings),
        autodiscover=False,
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,  # no tables: the plain round-robin assignor, which the priming names too
        broker_session_timeout=3 if settings.kafka_is_embedded else settings.kafka_session,
        broker_heartbeat_interval=0.5 if settings.kafka_is_embedded else settings.kafka_session / 10,
        broker_commit_interval=0.5,
        stream_wait_empty=True,
        stream_buffer_maxsize=16,  # events, which carry up to `handover.BATCH` records
    )
    transport = handover.BatchTransport(app.conf.broker_consumer, app)
    transport.fetch_wait_ms = kafka.EMBEDDED_FETCH_WAIT_MS if settings.kafka_is_embedded else 500
    app.transport = transport
    return app


def _credentials(settings: Settings) -> Any:
    """How Faust's client is let in: as the other clients are (`pipeline.kafka.client`)."""
    context = None
    if settings.kafka_uses_tls:
        context = ssl.create_default_context(cafile=settings.kafka_ssl_ca)
        if settings.kafka_ssl_cert:
            context.load_cert_chain(settings.kafka_ssl_cert, settings.kafka_ssl_key)
    if settings.kafka_uses_sasl:
        return faust.SASLCredentials(
            username=settings.kafka_sasl_username, password=settings.kafka_sasl_password, ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )  # fmt: skip
    return None if context is None else faust.SSLCredentials(context)


def in_batches(app: faust.App, topic: str, name: str, work: Work, bury: Bury) -> None:
    """Feed ``work`` with what came while it was busy, `handover.BATCH` or more. One alone waits for nothing."""

    async def one_after_another(messages: Sequence[Message], turn: Turn) -> Sequence[Rejection]:
        async with turn(len(messages)):
            return await work(messages)

    overlapping(app, topic, name, one_after_another, bury)


def overlapping(app: faust.App, topic: str, name: str, work: WorkInTurn, bury: Bury) -> None:
    """As `in_batches`, but the next batch begins while one still waits; ``work`` says what has to keep the order."""

    async def agent(stream: Any) -> None:
        waiting: asyncio.Queue[Any] = asyncio.Queue(_WAITING)
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(events: Sequence[Any], before: asyncio.Event, passed: asyncio.Event) -> None:
            messages = _messages(events)
            try:
                await settle(messages, partial(work, turn=Turn(before, passed, len(messages))), bury)
                _acknowledge(name, events)
            finally:
                passed.set()
                slots.release()

        async def drain(group: asyncio.TaskGroup) -> None:
            before = asyncio.Event()
            before.set()
            while True:
                await slots.acquire()
                events = [await waiting.get()]
                while not _is_full(events) and not waiting.empty():
                    events.append(waiting.get_nowait())
                passed = asyncio.Event()
                group.create_task(one(events, before, passed), name=name)
                before = passed

        async with asyncio.TaskGroup() as group:
            group.create_task(drain(group), name=f"{name}-drain")
            async for event in stream.noack().events():
                await waiting.put(event)

    app.transport.batch_sizes[topic] = handover.BATCH
    app.agent(_raw(app, topic), name=name)(agent)


def one_by_one(app: faust.App, topic: str, name: str, work: Work, bury: Bury, in_flight: int) -> None:
    """Feed ``work`` with single messages, up to ``in_flight`` at once and in no order."""

    async def agent(stream: Any) -> None:
        slots = asyncio.Semaphore(in_flight)

        async def one(event: Any) -> None:
            with metrics.in_flight.track_inprogress():
                try:
                    await settle(_messages([event]), work, bury)
                    _acknowledge(name, [event])
                finally:
                    slots.release()

        async with asyncio.TaskGroup() as group:
            async for event in stream.noack().events():
                await slots.acquire()
                group.create_task(one(event), name=name)

    app.transport.batch_sizes[topic] = 1
    app.agent(_raw(app, topic), name=name)(agent)


async def run(app: faust.App, ready: asyncio.Event) -> None:
    """Run until cancelled; then drain, commit and leave the group. Raises when Faust itself crashes."""
    try:
        await app.start()
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(_announce(app, ready))
            await app.wait_until_stopped()
            watcher.cancel()
        if app.crash_reason is not None:
            raise app.crash_reason
    finally:
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await app.stop()
        except TimeoutError:
            log.warning("drain_incomplete", detail="what is in flight will be delivered again")


def places(app: faust.App, ready: asyncio.Event) -> dict[tuple[str, int], handover.Place]:
    """Where each partition that this worker holds stands; empty until it is ``ready``."""
    return app.consumer.places() if ready.is_set() else {}


async def _announce(app: faust.App, ready: asyncio.Event) -> None:
    while not app.consumer.assignment():
        await asyncio.sleep(0.05)
    ready.set()


def _is_full(events: Sequence[Any]) -> bool:
    batches = [event.message for event in events]
    return (
        sum(len(batch.records) for batch in batches) >= handover.BATCH
        or sum(batch.weight for batch in batches) >= handover.BATCH_BYTES
    )


def _messages(events: Sequence[Any]) -> list[Message]:
    return [message for event in events for message in event.message.messages]


def _acknowledge(stage: str, events: Sequence[Any]) -> None:
    for event in events:
        event.ack()
        metrics.consumed.labels(stage=stage).inc(len(event.message.records))


def _raw(app: faust.App, topic: str) -> Any:
    return app.topic(
        topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
    )
