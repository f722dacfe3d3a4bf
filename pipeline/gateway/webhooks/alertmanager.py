"""Prometheus Alertmanager's webhook, version 4: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar

import msgspec
import structlog
from msgspec import Meta

from pipeline import metrics
from pipeline.alerts import anomaly_of, read_as
from schemas import Anomaly, Metric, Status

A = TypeVar("A", bound="Alert")
log = structlog.get_logger()


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of a notification. ``fingerprint`` is the sender's, of all labels."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    status: Status = "firing"
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    fingerprint: str = ""


class Notification(msgspec.Struct, Generic[A], frozen=True):
    """All alerts of a group: those that fire, and those that were resolved since the last one.

    ``status`` is resolved when all are. ``truncated`` is how many were left out, where the receiver limits them.
    """

    alerts: Sequence[A]
    status: Status = "firing"
    truncated: Annotated[int, Meta(ge=0, le=2**63 - 1)] = msgspec.field(default=0, name="truncatedAlerts")


_ZERO_YEAR = 1
"""Go's zero time, which stands for none."""


def read(body: bytes) -> list[Anomaly]:
    """An anomaly for each alert. Raises `Rejected` for what is no notification."""
    found = alerts(Notification[Alert], body, "Alertmanager")
    return [told(alert, "alertmanager", alert.generator_url) for alert in found]


def alerts(kind: type[Notification[A]], body: bytes, sender: str) -> Sequence[A]:
    """The alerts of what ``sender`` sent. Raises `Rejected` for what is no notification.

    Where some of a group that fires were left out, nobody knows which faults go on: none is taken for resolved. What
    was left out is never seen here, so its number is logged and counted.
    """
    found = read_as(kind, body, sender)
    if found.truncated:
        log.warning("alerts_left_out", sender=sender, left_out=found.truncated, mend="its receiver's max_alerts: 0")
        metrics.alerts_left_out.labels(source=sender.lower()).inc(found.truncated)
    if found.truncated and found.status == "firing":
        return [alert for alert in found.alerts if alert.status == "firing"]
    return found.alerts


def told(alert: Alert, source: str, link: str | None, metric: Metric | None = None) -> Anomaly:
    """The alert as an anomaly whose id is equal in each repetition: a reminder is no new occurrence.

    That of an end names the end, too: an alert may be resolved, fire on, and be resolved again.
    """
    resolved = alert.status == "resolved"
    when = alert.ends_at if resolved else alert.starts_at
    zoned = when if when is not None and when.tzinfo is not None and when.year > _ZERO_YEAR else None
    name = None
    if alert.fingerprint and alert.starts_at is not None:
        name = f"{source}/{alert.fingerprint[:128]}/{alert.starts_at.isoformat()}/{alert.status}"
        if resolved and alert.ends_at is not None:
            name = f"{name}/{alert.ends_at.isoformat()}"
    return anomaly_of(
        alert.labels, alert.annotations, status=alert.status, occurred_at=zoned, name=name, source=source, link=link,
        metric=metric,
    )  # fmt: skip
