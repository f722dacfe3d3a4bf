"""What every Kafka client of ours has in common: how it connects, what a record is, what an error means."""

from operator import methodcaller
from typing import Any

import msgspec
from confluent_kafka import KafkaError

from pipeline.errors import Rejected, Unavailable
from pipeline.settings import Settings

Headers = list[tuple[str, bytes]]
EMBEDDED_FETCH_WAIT_MS = 25
"""The embedded broker does not wake a waiting fetch: what comes meanwhile waits with it. Shorter costs idle cycles."""
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE}


class Message(msgspec.Struct, frozen=True, gc=False):
    """One record as it came. ``timestamp`` is milliseconds since the epoch, by Kafka's clock."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


def message_of(record: Any) -> Message:
    """A consumer's record as a value of ours."""
    return Message(
        record.topic(), record.partition(), record.offset(), record.key(), record.value(),
        _headers(record), record.timestamp()[1],
    )  # fmt: skip


_told = methodcaller("headers")
"""Called so, and not by its name: from 3.11 on an interpreter that has warmed up leaves out the check of what came."""


def _headers(record: Any) -> Headers:
    """Those of a record; none where a name is no UTF-8, which Kafka allows and confluent-kafka cannot read."""
    try:
        return _told(record) or []
    except (SystemError, UnicodeDecodeError):  # the one comes of the other, which nobody looks after in there
        return []


def common(settings: Settings) -> dict[str, Any]:
    """Where Kafka is and how to be let in."""
    return {
        "bootstrap.servers": settings.kafka,
        "client.id": "pulseguard",
        "log_level": 2,
        "error_cb": lambda _: None,  # librdkafka reconnects by itself; what matters reaches the delivery report
        "reconnect.backoff.max.ms": 2000,
    } | _security(settings)


def _security(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"security.protocol": settings.kafka_security}
    if settings.kafka_uses_sasl:
        found |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password,
        }
    if settings.kafka_uses_tls and settings.kafka_ssl_ca:
        found["ssl.ca.location"] = str(settings.kafka_ssl_ca)
    if settings.kafka_uses_tls and settings.kafka_ssl_cert:
        found |= {
            "ssl.certificate.location": str(settings.kafka_ssl_cert),
            "ssl.key.location": str(settings.kafka_ssl_key),
        }
    return found


def consumer_config(settings: Settings, group: str) -> dict[str, Any]:
    """A consumer that commits only what it is told to."""
    wait = EMBEDDED_FETCH_WAIT_MS if settings.kafka_is_embedded else 500
    return common(settings) | {"group.id": group, "fetch.wait.max.ms": wait, "enable.auto.commit": False}


def away(error: KafkaError) -> bool:
    """Whether Kafka does not answer, or not now."""
    return error.retriable() or error.code() in {
        KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._MSG_TIMED_OUT,  # noqa: SLF001
    }  # fmt: skip


def translated(error: KafkaError, topic: str = "") -> Exception:
    """The error of ours that says what is to be done. Rights that are missing are waited for: somebody took them."""
    where = f"{topic}: " if topic else ""
    if error.code() in _TOO_LARGE:
        return Rejected(f"Kafka refuses the record: {error.str()}")
    return Unavailable("kafka", f"{where}{error.str()}")
