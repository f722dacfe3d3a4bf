"""Datadog's webhooks integration, with the payload of deploy/WEBHOOKS.md: a template, which Datadog's users write.

https://docs.datadoghq.com/integrations/webhooks/
"""

import re

import msgspec

from pipeline.alerts import SEVERITIES, anomaly_of, name_of, read_as, time_of
from pipeline.errors import Rejected
from schemas import Anomaly, Metric

Said = str | int | float | None
"""What stands for a variable, within quotes or not."""


class Alert(msgspec.Struct, frozen=True):
    """One notification of a monitor, about one group of what it watches: ``alert_scope``, tags with commas between.

    ``alert_cycle_key`` is equal from the trigger to the recovery.
    """

    alert_id: str | int
    alert_transition: Said
    alert_cycle_key: Said = None
    alert_title: Said = None
    alert_type: Said = None
    alert_priority: Said = None
    alert_scope: Said = None
    alert_status: Said = None
    alert_metric: Said = None
    message: Said = None
    tags: Said = None
    hostname: Said = None
    date: Said = None
    link: Said = None


_UNSET = re.compile(r"\$[A-Z_]+|null", re.IGNORECASE)
_PREFIX = re.compile(r"(\[P\d\] ?)?\[(Re-)?(Triggered|Recovered|Warn|No Data|Renotify)[^\]]*\] ?", re.IGNORECASE)
"""What Datadog puts before a monitor's name; it differs from group to group."""


def read(body: bytes) -> list[Anomaly]:
    """The anomaly. What is not called recovered fires. Raises `Rejected`.

    A reminder is the same anomaly, but a warning that becomes an alert is another one.
    """
    alert = read_as(Alert, body, "Datadog")
    monitor, scope = _text(alert.alert_id), ",".join(sorted(_parts(alert.alert_scope)))
    if not monitor:
        raise Rejected("not a notification of Datadog: alert_id is empty")
    resolved = _text(alert.alert_transition).lower() == "recovered"
    severity = _severity(alert)
    cycle = _text(alert.alert_cycle_key) or _text(alert.date)
    metric = _text(alert.alert_metric)
    labels = _tags(alert)
    known = {
        "alertname": _PREFIX.sub("", _text(alert.alert_title), count=1) or f"monitor {monitor}", "severity": severity
    }  # fmt: skip
    return [
        anomaly_of(
            labels | known,
            {"summary": _text(alert.alert_status), "description": _text(alert.message)},
            status="resolved" if resolved else "firing",
            occurred_at=time_of(_text(alert.date)),
            name=name_of("datadog", monitor, scope, cycle, "resolved" if resolved else severity) if cycle else None,
            source="datadog",
            link=_text(alert.link),
            metric=Metric(metric) if metric else None,
            fingerprint=name_of("datadog", monitor, scope),
        )
    ]


def _severity(alert: Alert) -> str:
    """The monitor's priority; without one, or while it only warns, the notification's own."""
    kind, transition = _text(alert.alert_type).lower(), _text(alert.alert_transition).lower()
    if "warn" in transition or kind == "warning":
        return "warning"
    priority = _text(alert.alert_priority)
    return priority if priority.lower() in SEVERITIES else kind


def _tags(alert: Alert) -> dict[str, str]:
    """The group's tags and the event's; several values of one name stand together."""
    found: dict[str, list[str]] = {}
    for tag in dict.fromkeys([*_parts(alert.alert_scope), *_parts(alert.tags)]):
        name, _, value = tag.partition(":")
        found.setdefault(name, []).append(value)
    if _text(alert.hostname):
        found.setdefault("host", [_text(alert.hostname)])
    return {name: ",".join(values) for name, values in found.items() if name != "*"}


def _parts(said: Said) -> list[str]:
    return [part.strip() for part in _text(said).split(",") if part.strip()]


def _text(said: Said) -> str:
    """A variable that has no value here stays as it is, or is null."""
    text = "" if said is None else str(said).strip()
    return "" if _UNSET.fullmatch(text) else text
