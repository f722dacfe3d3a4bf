"""New Relic's issues, by a workflow's webhook with the payload of deploy/WEBHOOKS.md, or with New Relic's own.

https://docs.newrelic.com/docs/alerts/get-notified/custom-variables-alert-event-workflows/
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pipeline.alerts import anomaly_of, name_of, read_as, time_of
from pipeline.errors import Rejected
from schemas import Anomaly

Said = str | int | float | None
Listed = Sequence[Said] | Said
"""What stands for a variable that has several values, or for one of them."""


class Issue(msgspec.Struct, frozen=True, rename="camel"):
    """An issue as it is after what ``trigger`` names; ``id`` stays the same. It groups incidents: its lists grow.

    ``state`` is CREATED, ACTIVATED or CLOSED; times are milliseconds.
    """

    id: str
    state: str
    title: Listed = None
    priority: str | None = None
    issue_url: str | None = None
    created_at: Said = None
    updated_at: Said = None
    closed_at: Said = None
    trigger: Said = None
    impacted_entities: Listed = None
    alert_condition_names: Listed = None
    alert_policy_names: Listed = None
    description: Listed = None
    workflow_name: Said = None
    account_id: Said = None
    tags: dict[str, Listed] | None = None


_SEVERITIES = {"CRITICAL": "critical", "HIGH": "warning", "MEDIUM": "warning", "LOW": "info"}
"""HIGH is the priority of incidents that only warn."""


def read(body: bytes) -> list[Anomaly]:
    """The anomaly that an issue is. Raises `Rejected`.

    An issue that is activated, acknowledged or joined by incidents is the same one, but one of a higher priority is
    another. All but CLOSED fires.
    """
    issue = read_as(Issue, body, "New Relic")
    if not issue.id or not issue.state:
        raise Rejected("not a notification of New Relic: id or state is empty")
    over = issue.state.upper() == "CLOSED"
    severity = _SEVERITIES.get((issue.priority or "").upper(), "")
    titles, conditions, entities = map(_texts, (issue.title, issue.alert_condition_names, issue.impacted_entities))
    tags = {name: ",".join(_texts(said)) for name, said in (issue.tags or {}).items() if _texts(said)}
    own = {
        "alertname": next(iter([*conditions, *titles]), f"issue {issue.id}"), "severity": severity,
        "condition": ",".join(conditions), "policy": ",".join(_texts(issue.alert_policy_names)),
        "entity": ",".join(entities), "workflow": ",".join(_texts(issue.workflow_name)),
        "account": ",".join(_texts(issue.account_id)),
    }  # fmt: skip
    worse = issue.trigger == "PRIORITY_CHANGED"
    when = [issue.closed_at, issue.updated_at] if over else [issue.updated_at if worse else None, issue.created_at]
    labels = ({"service": entities[0]} if entities else {}) | tags | own
    return [
        anomaly_of(
            {name: text for name, text in labels.items() if text},
            {"summary": next(iter(titles), ""), "description": " ".join(_texts(issue.description))},
            status="resolved" if over else "firing",
            occurred_at=_first(when),
            name=name_of("newrelic", issue.id, "resolved" if over else severity),
            source="newrelic",
            link=issue.issue_url,
            fingerprint=name_of("newrelic", issue.id),
        )
    ]


def _first(told: Sequence[Said]) -> datetime | None:
    return next(filter(None, (time_of(str(one)) for one in told)), None)


def _texts(said: Listed) -> list[str]:
    """Each once, in their order, without what has no value."""
    several = [said] if said is None or isinstance(said, str | int | float) else said
    return list(dict.fromkeys(str(one).strip() for one in several if one is not None and str(one).strip()))
