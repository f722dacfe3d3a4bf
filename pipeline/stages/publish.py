"""What leaves the worker: a record with CloudEvents headers (Kafka binding, binary mode), acknowledged by Kafka."""

from datetime import UTC, datetime

from pipeline import metrics
from pipeline.errors import Rejected, Unavailable
from pipeline.kafka import Headers, Message, Sender
from pipeline.stages.ingest import origin_of, told_origin
from schemas import DeadLetter, Reason
from schemas.dead_letter import ORIGIN, PREFIX

SOURCE = b"pulseguard"
_LONGEST_TRACE = 512
"""Bytes; W3C's has 55. A longer one is no trace, and could make a good anomaly more than Kafka takes."""
_KEPT_AFTER_REFUSAL, _KEPT_BESIDE = 500_000, 50_000
"""Bytes of a value, and of a key or of the headers beside it, that are kept of a record that Kafka refuses."""
_PARTS = (1, 8, 64, 512)
"""What these are divided by, one after the other: the topic of dead letters may take less than that."""


def event_headers(event_type: str, event_id: str, message: Message | None = None) -> Headers:
    """The CloudEvents headers of a record of ours, with the trace of the record that caused it."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"pulseguard.{event_type}".encode()),
        ("ce_source", SOURCE),
        ("ce_id", event_id.encode()),
        ("ce_time", datetime.now(UTC).isoformat().encode()),
        ("content-type", b"application/json"),
    ]
    if message is not None:
        traces = [(name, value) for name, value in message.headers if name == "traceparent"]
        headers += [(name, value) for name, value in traces if value and len(value) <= _LONGEST_TRACE]
    return headers


async def bury(
    sender: Sender, topic: str, message: Message, reason: Reason, text: str, topic_id: str | None = None
) -> None:  # fmt: skip
    """Dead-letter a message: its bytes and key as they came, our headers after its own.

    ``topic_id`` is Kafka's id of the topic it came from, where its place there makes its identity.
    Where Kafka refuses the record as too large, the beginnings of its value and key and its small headers are kept, and
    the header ``pulseguard_truncated`` says so. Raises `Unavailable` where it takes not even the least of them.
    """
    letter = DeadLetter(
        reason=reason, message=text[:2000], topic=message.topic, partition=message.partition,
        offset=message.offset, time=datetime.now(UTC),
    )  # fmt: skip
    origin = told_origin(message) or (topic_id and origin_of(message, topic_id))
    own = [header for header in message.headers if not header[0].startswith(PREFIX)]
    ours = [*letter.headers(), *([(ORIGIN, origin)] if origin else [])]
    try:
        await sender.send(topic, message.key, message.value, [*own, *ours])
    except Rejected:
        await _bury_cut(sender, topic, message, own, [*ours, (f"{PREFIX}truncated", b"true")])
    metrics.dead_letters.labels(reason=reason).inc()


async def _bury_cut(sender: Sender, topic: str, message: Message, own: Headers, ours: Headers) -> None:
    refused = ""
    for part in _PARTS:
        room = _KEPT_BESIDE // part
        key, value = message.key and message.key[:room], message.value and message.value[: _KEPT_AFTER_REFUSAL // part]
        try:
            await sender.send(topic, key, value, [*_small(own, room), *ours])
        except Rejected as exc:
            refused = exc.reason
        else:
            return
    raise Unavailable("kafka", f"{topic} takes no dead letter, however small: {refused}")


def _small(headers: Headers, room: int) -> Headers:
    """Those that there is ``room`` for, in bytes."""
    kept: Headers = []
    for name, value in headers:
        size = len(name.encode()) + len(value or b"") + 10  # and what Kafka writes beside them
        if size <= room:
            kept.append((name, value))
            room -= size
    return kept
