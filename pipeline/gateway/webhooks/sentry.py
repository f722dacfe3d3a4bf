"""Sentry's integration platform: alerts of issues and of metrics, and what becomes of issues.

https://docs.sentry.io/integrations/integration-platform/webhooks/
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.alerts import anomaly_of, converted, name_of, read_as, time_of
from schemas import Anomaly


class Metadata(msgspec.Struct, frozen=True):
    """The exception."""

    type: str | None = None
    value: str | None = None


class Project(msgspec.Struct, frozen=True):
    """What an issue is in."""

    slug: str | None = None


class Event(msgspec.Struct, frozen=True):
    """The event that an issue alert tells of. ``tags`` are pairs of name and value."""

    issue_id: str | int | None = None
    event_id: str | None = None
    title: str | None = None
    culprit: str | None = None
    level: str | None = None
    datetime: str | None = None
    url: str | None = None
    web_url: str | None = None
    metadata: Metadata | None = None
    tags: Sequence[Sequence[str | None]] | None = None


class Issue(msgspec.Struct, frozen=True, rename="camel"):
    """An issue after something was done about it."""

    id: str | int
    title: str | None = None
    culprit: str | None = None
    level: str | None = None
    short_id: str | None = None
    substatus: str | None = None
    last_seen: str | None = None
    permalink: str | None = None
    web_url: str | None = msgspec.field(default=None, name="web_url")
    metadata: Metadata | None = None
    project: Project | None = None


class Rule(msgspec.Struct, frozen=True):
    """A metric alert's rule."""

    id: str | int | None = None
    name: str | None = None
    environment: str | None = None


class MetricAlert(msgspec.Struct, frozen=True):
    """One time that a rule's threshold was passed: what Sentry calls an incident."""

    id: str | int
    alert_rule: Rule | None = None
    date_started: str | None = None
    date_closed: str | None = None
    projects: Sequence[str | None] | None = None


class Hook(msgspec.Struct, frozen=True):
    """What Sentry sends; ``data`` tell by their names what it is about."""

    action: str
    data: dict[str, Any]


_PROJECT = re.compile(r"/projects/[^/]+/([^/]+)/events/")
_FIRES = {"created", "unresolved"}
"""Of an issue; assigned and archived is neither an occurrence nor an end."""


def read(body: bytes) -> list[Anomaly]:
    """The anomaly; none for comments, installations and the like. Raises `Rejected`."""
    hook = read_as(Hook, body, "Sentry")
    if "metric_alert" in hook.data:
        alert = converted(MetricAlert, hook.data["metric_alert"], "Sentry")
        return [_measured(alert, hook.action, hook.data)]
    if "issue" in hook.data and hook.action in _FIRES | {"resolved"}:
        return [_changed(converted(Issue, hook.data["issue"], "Sentry"), hook.action)]
    if "event" in hook.data and hook.action == "triggered":
        return [_alerted(converted(Event, hook.data["event"], "Sentry"), hook.data.get("triggered_rule"))]
    return []


def _alerted(event: Event, rule: object) -> Anomaly:
    issue, name = _text(event.issue_id), event.event_id
    project = _PROJECT.search(event.url or "")
    tags = {pair[0]: pair[1] for pair in event.tags or () if len(pair) > 1 and pair[0] and pair[1]}
    own = {"service": project[1] if project else None, "rule": rule if isinstance(rule, str) else None}
    return anomaly_of(
        tags | _labels(event, own),
        _said(event),
        occurred_at=time_of(event.datetime),
        name=name_of("sentry", issue, name) if name else None,
        source="sentry",
        link=event.web_url,
        fingerprint=name_of("sentry", issue) if issue else None,
    )


def _changed(issue: Issue, action: str) -> Anomaly:
    """Sentry does not say when somebody resolved it: the last event tells one end from another."""
    own = {
        "service": issue.project.slug if issue.project else None, "short_id": issue.short_id,
        "substatus": issue.substatus,
    }  # fmt: skip
    over = action == "resolved"
    return anomaly_of(
        _labels(issue, own),
        _said(issue),
        status="resolved" if over else "firing",
        occurred_at=None if over else time_of(issue.last_seen),
        name=name_of("sentry", _text(issue.id), action, issue.last_seen or ""),
        source="sentry",
        link=issue.web_url or issue.permalink,
        fingerprint=name_of("sentry", _text(issue.id)),
    )


def _measured(alert: MetricAlert, action: str, data: dict[str, Any]) -> Anomaly:
    rule = alert.alert_rule or Rule()
    over = action == "resolved"
    title, text, link = (_text(data.get(name)) for name in ("description_title", "description_text", "web_url"))
    labels = {
        "alertname": rule.name or title, "severity": action, "environment": rule.environment,
        "service": ",".join(filter(None, alert.projects or ())), "rule": _text(rule.id),
    }  # fmt: skip
    return anomaly_of(
        {name: said for name, said in labels.items() if said},
        {"summary": title, "description": text},
        status="resolved" if over else "firing",
        occurred_at=time_of(alert.date_closed if over else alert.date_started),
        name=name_of("sentry", "metric", _text(alert.id), action),
        source="sentry",
        link=link,
        fingerprint=name_of("sentry", "metric", _text(alert.id)),
    )


def _labels(told: Event | Issue, own: dict[str, str | None]) -> dict[str, str]:
    """The exception's type names the fault; a message that is none has its title alone."""
    kind = told.metadata.type if told.metadata else None
    labels = {"alertname": kind or told.title, "severity": told.level, "culprit": told.culprit} | own
    return {name: text for name, text in labels.items() if text}


def _said(told: Event | Issue) -> dict[str, str]:
    value = told.metadata.value if told.metadata else None
    title = told.title or ""
    return {"summary": title, "description": value if value and value not in title else ""}


def _text(said: object) -> str:
    return str(said) if isinstance(said, str | int) else ""
