"""A producer whose `send` returns once Kafka has acknowledged the record."""

import asyncio
import contextlib
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import Unavailable
from pipeline.kafka.client import Headers, common, translated
from pipeline.settings import Settings

TIMEOUT_MS = 30_000
"""How long a record may wait for its acknowledgement."""
LARGEST_RECORD = 10_000_000
"""Bytes that a record may have, where the topic allows it."""


class Sender:
    """Waits for the acknowledgement of all in-sync replicas.

    An idempotent producer that gave up on a record may never be let in again (its sequence has a hole, or the broker
    has forgotten it): the next records go through a new one.
    """

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = common(settings) | {
            "enable.idempotence": True,  # and with it acks=all
            "linger.ms": 2,
            "compression.type": "lz4",
            "message.timeout.ms": TIMEOUT_MS,
            "message.max.bytes": LARGEST_RECORD,
        }
        self._producer = Producer(self._config)
        self._retired: list[Producer] = []
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka-sender", daemon=True)
        self._poller.start()

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        """Publish one record. Raises `Unavailable` when Kafka does not acknowledge, `Rejected` when it never will."""
        done: asyncio.Future[None] = self._loop.create_future()
        producer = self._producer

        def settle(error: KafkaError | None) -> None:
            if error is not None and _gave_up(error):
                self._replace(producer)
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(translated(error, topic))

        def on_delivery(error: KafkaError | None, _: Any) -> None:
            self._loop.call_soon_threadsafe(settle, error)

        try:
            producer.produce(topic, value=value, key=key, headers=headers or [], on_delivery=on_delivery)
        except BufferError as exc:
            raise Unavailable("kafka", "the producer's queue is full") from exc
        except KafkaException as exc:
            if _gave_up(exc.args[0]):
                self._replace(producer)
            raise translated(exc.args[0], topic) from exc
        await done

    def _replace(self, producer: Producer) -> None:
        if self._producer is producer:
            self._retired = [old for old in self._retired if len(old)] + [producer]
            self._producer = Producer(self._config)

    def _poll(self) -> None:
        while not self._closing.is_set():
            for old in self._retired:
                self._serve(old, 0)
            self._serve(self._producer, 0.1)

    def _serve(self, producer: Producer, seconds: float) -> None:
        """Have what was acknowledged reported. A fatal error is raised here, once, whatever ``error_cb`` is."""
        try:
            producer.poll(seconds)
        except KafkaException:
            self._loop.call_soon_threadsafe(self._replace, producer)

    async def close(self) -> None:
        """Wait up to 10 s for what is under way, then stop."""
        for producer in (self._producer, *self._retired):
            with contextlib.suppress(KafkaException):
                await asyncio.to_thread(producer.flush, 10)
        self._closing.set()
        await asyncio.to_thread(self._poller.join, 2)


def _gave_up(error: KafkaError) -> bool:
    return error.fatal() or error.code() in {KafkaError._FATAL, KafkaError._MSG_TIMED_OUT}  # noqa: SLF001
