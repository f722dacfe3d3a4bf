"""PagerDuty's webhooks, version 3: https://developer.pagerduty.com/docs/webhooks-overview."""

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.alerts import SEVERITIES, anomaly_of, converted, name_of, read_as, time_of
from schemas import Anomaly


class Named(msgspec.Struct, frozen=True):
    """A service, a priority, a team: what people call it."""

    summary: str | None = None


class Incident(msgspec.Struct, frozen=True):
    """An incident as it is after the event. ``urgency`` is high or low."""

    id: str
    status: str | None = None
    title: str | None = None
    number: int | str | None = None
    html_url: str | None = None
    incident_key: str | None = None
    urgency: str | None = None
    service: Named | None = None
    priority: Named | None = None
    escalation_policy: Named | None = None
    teams: Sequence[Named] | None = None


class Event(msgspec.Struct, frozen=True):
    """What happened: ``incident.triggered``, for one. ``id`` is equal when it is delivered again.

    ``data`` are of many types.
    """

    id: str
    event_type: str
    data: dict[str, Any]
    occurred_at: str | None = None


class Delivery(msgspec.Struct, frozen=True):
    """One event."""

    event: Event


def read(body: bytes) -> list[Anomaly]:
    """The anomaly that an incident is; none for what happens to services, notes and responders. Raises `Rejected`.

    An incident that is escalated, acknowledged or given to somebody else is still the same anomaly; more so one whose
    priority changes, which is another.
    """
    event = read_as(Delivery, body, "PagerDuty").event
    if event.data.get("type") != "incident":
        return []
    incident = converted(Incident, event.data, "PagerDuty")
    over = event.event_type == "incident.resolved"
    if incident.status == "resolved" and not over:
        return []
    severity = _severity(incident)
    again = over or event.event_type == "incident.reopened"
    labels = {
        "alertname": incident.title, "service": _name(incident.service), "severity": severity,
        "priority": _name(incident.priority), "urgency": incident.urgency,
        "number": None if incident.number is None else str(incident.number), "incident_key": incident.incident_key,
        "escalation_policy": _name(incident.escalation_policy),
        "team": ",".join(filter(None, map(_name, incident.teams or ()))),
    }  # fmt: skip
    return [
        anomaly_of(
            {name: text for name, text in labels.items() if text},
            {"summary": incident.title or ""},
            status="resolved" if over else "firing",
            occurred_at=time_of(event.occurred_at),
            name=name_of("pagerduty", incident.id, *([event.event_type, event.id] if again else [severity])),
            source="pagerduty",
            link=incident.html_url,
            fingerprint=name_of("pagerduty", incident.id),
        )
    ]


def _severity(incident: Incident) -> str:
    """The priority's, where it is called P1 or SEV-1, or else by its urgency."""
    priority = (_name(incident.priority) or "").lower().replace("sev", "p").replace("-", "")
    return SEVERITIES.get(priority) or ("warning" if incident.urgency == "low" else "error")


def _name(named: Named | None) -> str | None:
    return named.summary if named else None
