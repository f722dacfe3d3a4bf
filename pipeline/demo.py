"""A mixed scenario for `make demo`: plain faults, a storm, something never seen, and one unreadable message."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from pipeline.console import typed
from pipeline.kafka import Sender
from pipeline.settings import Settings

SINGLES: list[dict[str, Any]] = [
    {"error_type": "database_timeout", "service": "payments-db", "spike_percentage": 450, "severity": "critical",
     "message": "connection pool exhausted, queries wait for more than 30 s"},
    {"error_type": "kafka_consumer_lag", "service": "orders-consumer", "spike_percentage": 320, "severity": "error",
     "message": "the group falls behind by 40,000 records a minute"},
    {"error_type": "memory_leak", "service": "checkout", "spike_percentage": 280, "severity": "error",
     "message": "resident memory grows steadily since the last deploy"},
    {"error_type": "certificate_expiry", "service": "edge-proxy", "severity": "warning",
     "message": "TLS handshakes fail, the certificate has expired"},
    {"error_type": "dns_resolution_failure", "service": "notifications", "severity": "error",
     "message": "name lookups answer SERVFAIL in one zone"},
    {"error_type": "paper_tray_empty", "service": "office-printer", "severity": "info",
     "message": "tray two has no paper left"},
]  # fmt: skip
FAULT = {"error_type": "disk_full", "service": "search-index", "severity": "critical"}
STORM = 500
"""Anomalies of one fault: one episode, one Slack message, and a decision for each tenfold of what was seen."""


async def play(settings: Settings, say: Callable[[str], None]) -> None:
    """Send the scenario, a little apart, as monitoring would."""
    sender = Sender(settings)
    try:
        for anomaly in SINGLES:
            await sender.send(settings.topic_anomalies, None, msgspec.json.encode(anomaly))
            await asyncio.sleep(0.7)
        say(f"now {STORM} anomalies of one fault: one episode, decided again only once it is ten times as many")
        await asyncio.gather(
            *(
                sender.send(
                    settings.topic_anomalies, None, msgspec.json.encode(FAULT | {"labels": {"instance": f"search-{n}"}})
                )
                for n in range(STORM)
            )
        )
        say(f"and one that nobody can read: see `{typed('dlq list')}`")
        await sender.send(settings.topic_anomalies, None, b'{"error_type": ')
    finally:
        await sender.close()
