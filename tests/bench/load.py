"""What is sent: anomalies of the size and shape that monitoring sends, seeded, so that a run can be repeated."""

import json
import random
from collections.abc import Iterator

KINDS = (
    "database_timeout", "memory_leak", "disk_full", "kafka_consumer_lag", "certificate_expired", "dns_failure",
    "cpu_saturation", "queue_backlog", "connection_pool_exhausted", "replication_lag",
)  # fmt: skip
SEVERITIES = ("warning", "error", "critical")
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1", "ap-south-1")
_WORDS = (
    "requests time out while the pool waits for a free connection", "latency climbs after the latest deployment",
    "the node reports pressure and evicts pods", "consumers fall behind and the backlog grows",
    "writes fail because the volume is nearly full", "the certificate is no longer accepted by clients",
    "lookups fail for internal names", "threads are blocked on a lock", "retries pile up at the upstream gateway",
    "replicas lag behind their primary",
)  # fmt: skip


def anomaly(chance: random.Random, mark: str, number: int, fault: int) -> bytes:
    """About 480 bytes of JSON. ``fault`` is what makes two of them the same."""
    spike = chance.randrange(120, 900)
    body = {
        "id": f"{mark}-{number}",
        "error_type": KINDS[fault % len(KINDS)],
        "service": f"{mark}-svc-{fault}",
        "environment": "production",
        "severity": SEVERITIES[fault % len(SEVERITIES)],
        "spike_percentage": spike,
        "metric": {"name": "request_duration_p99", "value": spike * 3.5, "baseline": 350.0, "unit": "ms"},
        "message": f"{chance.choice(_WORDS)}; {chance.choice(_WORDS)} ({chance.getrandbits(32):08x})",
        "labels": {"region": REGIONS[fault % len(REGIONS)], "namespace": "shop", "pod": f"pod-{number % 997}"},
        "occurred_at": f"2026-11-23T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
        "source": "prometheus",
    }
    return json.dumps(body).encode()


def storm(count: int, faults: int, mark: str, seed: int = 1) -> Iterator[bytes]:
    """Many anomalies of few faults, mixed."""
    chance = random.Random(f"{mark}/{seed}")
    for number in range(count):
        yield anomaly(chance, mark, number, number if number < faults else chance.randrange(faults))


def distinct(count: int, mark: str, seed: int = 1) -> Iterator[bytes]:
    """Each anomaly is a fault of its own, with words of its own, and asks for a decision of its own."""
    return storm(count, count, mark, seed)
