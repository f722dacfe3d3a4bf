"""An alert in Prometheus's form, labels and annotations, as an anomaly, whatever it holds. Pure."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from pipeline.errors import Rejected
from pipeline.stages.fingerprints import digest
from schemas import Anomaly, Metric, Severity, Status

T = TypeVar("T")

SEVERITIES: dict[str, Severity] = {
    "critical": "critical", "page": "critical", "emergency": "critical", "fatal": "critical", "p1": "critical",
    "s1": "critical", "error": "error", "high": "error", "major": "error", "p2": "error", "s2": "error",
    "warning": "warning", "warn": "warning", "medium": "warning", "minor": "warning", "p3": "warning",
    "s3": "warning", "s4": "warning", "info": "info", "informational": "info", "low": "info", "none": "info",
    "p4": "info", "p5": "info", "debug": "info",
}  # fmt: skip
"""What rules call it, in lower case; for anything else nothing is said."""
_SERVICE = ("service", "service_name", "app", "application", "component")
_ENVIRONMENT = ("environment", "env")
"""Labels that name it, the first one that is there."""
_TELLING = ("summary", "message", "description")
_ENDS = (".", "!", "?", ":", ";")
_NAME, _VALUE, _TEXT, _LINK = 256, 1024, 16_000, 4096
_MOST_LABELS = 64
"""What an anomaly may hold, or should, texts in bytes of UTF-8: together they are no more than a record may have. A
sender that is over it loses the rest of a text, never the alert."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""No text has these: PostgreSQL cannot hold the first, and JSON takes six bytes for each."""
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,9})?")
_SECONDS = 10_000_000_000
"""What is more counts milliseconds."""


def read_as(kind: type[T], body: bytes, sender: str) -> T:
    """What ``sender`` sent. Raises `Rejected`.

    Python's own reader is asked where msgspec's refuses: half a surrogate or a number out of range is no reason to lose
    an alert.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError:
        try:
            value = json.loads(body)
        except ValueError as exc:
            raise Rejected(f"not a notification of {sender}: {exc}") from exc
        return converted(kind, value, sender)


def converted(kind: type[T], value: Any, sender: str) -> T:
    """A part of what ``sender`` sent, read already. Raises `Rejected`.

    Where no text may stand msgspec fails on half a surrogate otherwise than on other texts.
    """
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as exc:
        raise Rejected(f"not a notification of {sender}: {exc}") from exc


def name_of(source: str, *parts: str) -> str:
    """An id or a fingerprint of what the sender calls it: those words where they can be one, else a digest of them."""
    name = "/".join([source, *parts])
    return name if name == _cut(name, _NAME) else f"{source}/{digest([_cut(part, _TEXT) for part in parts])}"


def time_of(text: str | None) -> datetime | None:
    """A time with its zone, or seconds or milliseconds since 1970; None for what is neither."""
    try:
        if text and _NUMBER.fullmatch(text):
            return datetime.fromtimestamp(float(text) / (1000 if float(text) > _SECONDS else 1), UTC)
        when = datetime.fromisoformat(text or "")
    except (ValueError, OverflowError, OSError):
        return None
    return when if when.tzinfo else None


def anomaly_of(
    labels: Mapping[str, str], annotations: Mapping[str, str], *, status: Status = "firing",
    occurred_at: datetime | None = None, name: str | None = None, source: str | None = None, link: str | None = None,
    metric: Metric | None = None, fingerprint: str | None = None,
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
        id=_cut(name or "", _NAME) or None,
        service=_cut(labels[service], _NAME) if service else None,
        environment=_cut(labels[environment], _NAME) if environment else None,
        severity=SEVERITIES.get(labels.get("severity", "").lower()),
        metric=_measured(metric),
        message=_cut(_sentences(told), _TEXT) or None,
        labels={
            _cut(key, _NAME): _cut(text, _VALUE) for key, text in list(labels.items())[:_MOST_LABELS] if key not in said
        },
        occurred_at=_in_utc(occurred_at),
        status=status,
        source=source,
        link=link if link and _cut(link, _LINK) == link else None,
        fingerprint=fingerprint,
    )


def _sentences(told: Sequence[str]) -> str:
    """What was said, once each, with a full stop between where there is none."""
    text = ""
    for said in dict.fromkeys(told):
        text += f"{'' if text.endswith(_ENDS) else '.'} {said}" if text else said
    return text


def _measured(metric: Metric | None) -> Metric | None:
    if metric is None or (metric.value is not None and not math.isfinite(metric.value)):
        return None
    return Metric(
        name=_cut(metric.name or "", _NAME) or None, value=metric.value, unit=_cut(metric.unit or "", _NAME) or None
    )  # fmt: skip


def _in_utc(when: datetime | None) -> datetime | None:
    try:
        return when.astimezone(UTC) if when else None
    except OverflowError:
        return None


def _cut(text: str, limit: int) -> str:
    """What PostgreSQL and UTF-8 can hold of it, in ``limit`` bytes."""
    return _CONTROL.sub("", text[:limit]).encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
