"""What producers send: seeded, so that a run can be repeated event for event."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

KINDS = ("database_timeout", "memory_leak", "disk_full", "kafka_consumer_lag", "certificate_expired")
POISON = (
    None, b"", b"hello", b'{"error_type": ', b"null", b'{"service": "a"}', b'{"error_type": "a\\u0000b"}',
    b'{"error_type": "a", "spike_percentage": NaN}', b'{"error_type": "a", "spike_percentage": 1e999}',
    b"\xff\xfe", b"[" * 5000, b'{"error_type": "\\ud800"}', b'{"error_type": "' + b"x" * 300 + b'"}',
)  # fmt: skip
"""Bytes that no retry mends."""


@dataclass(frozen=True, slots=True)
class Event:
    """One record to publish. ``id`` is None for poison; ``fault`` is what makes two anomalies the same."""

    value: bytes | None
    id: str | None = None
    fault: str = ""
    key: bytes | None = None
    resolved: bool = False
    timestamp: int = 0
    """Milliseconds since the epoch by the producer's clock; 0: now."""
    nameless: bool = False
    """It says no id to the program; ``id`` is the ledger's own."""


def anomaly(name: str, service: str, kind: str = KINDS[0], *, keyed: bool = False, **fields: object) -> Event:
    """A good one. ``keyed``: all of its fault lie in one partition, in order."""
    fault = f"{service}/{kind}"
    body = {"id": name, "error_type": kind, "service": service, "spike_percentage": 450} | fields
    return Event(
        json.dumps(body).encode(), name, fault, fault.encode() if keyed else None, fields.get("status") == "resolved"
    )


def distinct(chance: random.Random, count: int, prefix: str = "one") -> Iterator[Event]:
    """Each anomaly is a fault of its own, and so asks for a decision of its own."""
    mark = f"{prefix}-{chance.getrandbits(24):06x}"
    for number in range(count):
        yield anomaly(f"{mark}-{number}", f"{mark}-svc-{number}", chance.choice(KINDS))


def storm(chance: random.Random, count: int, faults: int, prefix: str = "storm") -> Iterator[Event]:
    """Many anomalies of few faults, mixed."""
    mark = f"{prefix}-{chance.getrandbits(24):06x}"
    for number in range(count):
        fault = number if number < faults else chance.randrange(faults)
        yield anomaly(f"{mark}-{number}", f"{mark}-svc-{fault}", KINDS[fault % len(KINDS)])


def poisoned(chance: random.Random, events: Iterator[Event], share: float) -> Iterator[Event]:
    """The stream, with bad input between."""
    for event in events:
        yield event
        if chance.random() < share:
            yield Event(chance.choice(POISON))
