"""An alert in Prometheus's form, labels and annotations, as an anomaly. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from schemas import Anomaly, Metric, Severity, Status

SEVERITIES: dict[str, Severity] = {
    "critical": "critical", "page": "critical", "emergency": "critical", "fatal": "critical", "p1": "critical",
    "s1": "critical", "error": "error", "high": "error", "major": "error", "p2": "error", "s2": "error",
    "warning": "warning", "warn": "warning", "medium": "warning", "minor": "warning", "p3": "warning",
    "s3": "warning", "s4": "warning", "info": "info", "informational": "info", "low": "info", "none": "info",
}  # fmt: skip
"""What rules call it, in lower case; for anything else nothing is said."""
_SERVICE = ("service", "service_name", "app", "application", "component")
_ENVIRONMENT = ("environment", "env")
"""Labels that name it, the first one that is there."""
_TELLING = ("summary", "message", "description")
_ENDS = (".", "!", "?", ":", ";")
_NAME, _VALUE, _TEXT, _LINK = 256, 1024, 16_000, 4096
_MOST_LABELS = 64
"""What an anomaly may hold, or should: a sender that is over it loses the rest of a text, never the alert."""


def anomaly_of(
    labels: Mapping[str, str], annotations: Mapping[str, str], *, status: Status = "firing",
    occurred_at: datetime | None = None, name: str | None = None, source: str | None = None, link: str | None = None,
    metric: Metric | None = None,
) -> Anomaly:  # fmt: skip
    """The anomaly that an alert is: ``alertname`` is its error type. ``name`` becomes its id.

    Told are summary, message and description, or all annotations but links where there is none of these.
    """
    service = next((key for key in _SERVICE if labels.get(key)), None)
    environment = next((key for key in _ENVIRONMENT if labels.get(key)), None)
    said = {"alertname", "severity", service, environment}
    told = [annotations[key] for key in _TELLING if annotations.get(key)] or [
        text for key, text in annotations.items() if text and not key.endswith("url")
    ]
    return Anomaly(
        error_type=_cut(labels.get("alertname", ""), _NAME).strip() or "alert",
        id=name,
        service=_cut(labels[service], _NAME) if service else None,
        environment=_cut(labels[environment], _NAME) if environment else None,
        severity=SEVERITIES.get(labels.get("severity", "").lower()),
        metric=metric,
        message=_cut(_sentences(told), _TEXT) or None,
        labels={
            _cut(key, _NAME): _cut(text, _VALUE) for key, text in list(labels.items())[:_MOST_LABELS] if key not in said
        },
        occurred_at=occurred_at,
        status=status,
        source=source,
        link=link if link and len(link) <= _LINK else None,
    )


def _sentences(told: Sequence[str]) -> str:
    """What was said, once each, with a full stop between where there is none."""
    text = ""
    for said in dict.fromkeys(told):
        text += f"{'' if text.endswith(_ENDS) else '.'} {said}" if text else said
    return text


def _cut(text: str, limit: int) -> str:
    """What PostgreSQL and UTF-8 can hold of it."""
    return text[:limit].replace("\0", "").encode("utf-8", "replace").decode()
