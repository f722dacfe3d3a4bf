"""An anomaly: one event from monitoring, saying that something is wrong now."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.decision import Evidence, Signals

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")
"""From the least to the worst."""
Status = Literal["firing", "resolved"]
STATUSES: tuple[Status, ...] = ("firing", "resolved")


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    """The measurement behind an anomaly. ``unit`` is that of ``value`` and ``baseline``."""

    name: str | None = None
    value: float | None = None
    baseline: float | None = None
    unit: str | None = None


class Anomaly(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event from monitoring. Only ``error_type`` is required; unknown fields are ignored.

    ``spike_percentage`` is the deviation from normal in percent (450 means 450 % above it).
    ``id`` is the producer's; without one the pipeline derives it from topic, partition and offset. ``fingerprint`` is
    the producer's own name for the fault, where it groups its events itself: it takes the place of the pipeline's rule.
    """

    error_type: Annotated[str, Meta(min_length=1, max_length=256)]
    id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    service: Annotated[str, Meta(max_length=256)] | None = None
    environment: Annotated[str, Meta(max_length=256)] | None = None
    severity: Severity | None = None
    spike_percentage: float | None = None
    metric: Metric | None = None
    message: Annotated[str, Meta(max_length=65536)] | None = None
    labels: dict[str, str] = {}
    occurred_at: Annotated[datetime, Meta(tz=True)] | None = None
    status: Status = "firing"
    source: Annotated[str, Meta(max_length=1024)] | None = None
    link: Annotated[str, Meta(max_length=4096)] | None = None
    fingerprint: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class EnrichedAnomaly(msgspec.Struct, frozen=True, kw_only=True):
    """The anomaly that asks for a decision, with the past incidents nearest to it.

    ``evidence`` is ordered, nearest first; ``signals`` tell how the first one stands out. ``situation_id`` names the
    situation, episodes of one cause, that its episode belongs to. ``received_at`` is the anomaly's arrival in Kafka
    (UTC). ``timings`` are milliseconds per stage so far.
    """

    anomaly: Anomaly
    anomaly_id: str
    fingerprint: str
    episode_id: str
    revision: int
    situation_id: str | None = None
    evidence: list[Evidence]
    signals: Signals = Signals()
    received_at: datetime
    timings: dict[str, float]
