"""Azure Monitor's alerts, in the common alert schema, by the action *Webhook* of an action group.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from pipeline.alerts import anomaly_of, converted, name_of, read_as, time_of
from pipeline.errors import Rejected
from schemas import Anomaly, Metric

Said = str | int | float | None
"""Numbers come as numbers and as texts."""


class Essentials(msgspec.Struct, frozen=True, rename="camel"):
    """What every kind of alert tells. ``alert_id`` is that of the instance: equal when it is resolved.

    ``resolved_date_time`` is for alerts of metrics alone, and not every kind has the id of its rule.
    """

    alert_id: str
    monitor_condition: Literal["Fired", "Resolved"]
    alert_rule: str | None = None
    alert_rule_id: str | None = None
    severity: str | None = None
    signal_type: str | None = None
    monitoring_service: str | None = None
    alert_target_ids: Sequence[str | None] | None = msgspec.field(default=None, name="alertTargetIDs")
    configuration_items: Sequence[str | None] | None = None
    target_resource_group: str | None = None
    target_resource_type: str | None = None
    fired_date_time: str | None = None
    resolved_date_time: str | None = None
    description: str | None = None
    investigation_link: str | None = None


class Dimension(msgspec.Struct, frozen=True):
    """What tells one series of a rule from another."""

    name: str | None = None
    value: Said = None


class Criterion(msgspec.Struct, frozen=True, rename="camel"):
    """A condition of a rule about a metric or a search; all of them are met."""

    metric_name: str | None = None
    metric_measure_column: str | None = None
    metric_namespace: str | None = None
    metric_value: Said = None
    operator: str | None = None
    threshold: Said = None
    dimensions: Sequence[Dimension] | None = None
    filtered: str | None = msgspec.field(default=None, name="linkToFilteredSearchResultsUI")
    found: str | None = msgspec.field(default=None, name="linkToSearchResultsUI")


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """Of alerts about metrics and, since version 2, about searches."""

    all_of: Sequence[Criterion] | None = None


class Context(msgspec.Struct, frozen=True, rename="camel"):
    """What differs from kind to kind: a condition, or Prometheus's labels, or an event of the activity log.

    ``dimensions`` are those of the first version of searches.
    """

    condition: Condition | None = None
    labels: dict[str, Said] | None = None
    annotations: dict[str, Said] | None = None
    dimensions: Sequence[Dimension] | None = msgspec.field(default=None, name="Dimensions")
    operation_name: str | None = None
    properties: dict[str, Any] | None = None


class Data(msgspec.Struct, frozen=True, rename="camel"):
    """The three parts of an alert; custom properties are the rule's."""

    essentials: Essentials
    alert_context: Any = None
    custom_properties: Any = None


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert. Where the common schema is not enabled there is another schema, or none."""

    schema_id: Literal["azureMonitorCommonAlertSchema"]
    data: Data


_SEVERITIES = {"Sev0": "critical", "Sev1": "error", "Sev2": "warning", "Sev3": "info", "Sev4": "info"}
"""Critical, error, warning, informational, verbose."""


def read(body: bytes) -> list[Anomaly]:
    """The anomaly. Raises `Rejected`.

    A rule that keeps no state fires with a new alert each time, and never ends. One that does has one alert at a time
    for each of its series: a resource and its dimensions.
    """
    data = read_as(Alert, body, "Azure Monitor").data
    said, context = data.essentials, _context(data.alert_context)
    if not said.alert_id:
        raise Rejected("not a notification of Azure Monitor: alertId is empty")
    criteria = (context.condition.all_of if context.condition else None) or [Criterion()]
    first, over = criteria[0], said.monitor_condition == "Resolved"
    series = _texts(context.labels) | _named(context.dimensions)
    for one in criteria:
        series |= _named(one.dimensions)
    targets = sorted(target.lower() for target in said.alert_target_ids or () if target)
    metric = first.metric_name or first.metric_measure_column
    return [
        anomaly_of(
            _service(said, targets) | _texts(data.custom_properties) | series | _labels(said, targets, first),
            _told(said, context, criteria),
            status="resolved" if over else "firing",
            occurred_at=time_of(said.resolved_date_time if over else said.fired_date_time),
            name=name_of("azuremonitor", said.alert_id, said.monitor_condition),
            source="azuremonitor",
            link=said.investigation_link or first.filtered or first.found,
            metric=Metric(metric, _number(first.metric_value)) if metric else None,
            fingerprint=name_of("azuremonitor", *_fault(said, targets, series)),
        )
    ]


def _fault(said: Essentials, targets: Sequence[str], series: Mapping[str, str]) -> list[str]:
    rule = said.alert_rule_id or said.alert_rule
    return [rule.lower(), *targets, *(f"{name}={series[name]}" for name in sorted(series))] if rule else [said.alert_id]


def _service(said: Essentials, targets: Sequence[str]) -> dict[str, str]:
    """The resource's name, whether it is told alone or at the end of its id."""
    resource = next(filter(None, [*(said.configuration_items or ()), *targets]), "").rstrip("/").rpartition("/")[2]
    return {"service": resource} if resource else {}


def _labels(said: Essentials, targets: Sequence[str], first: Criterion) -> dict[str, str]:
    found = {
        "alertname": said.alert_rule, "severity": _SEVERITIES.get(said.severity or ""),
        "resource_id": ",".join(targets), "resource_group": said.target_resource_group,
        "resource_type": said.target_resource_type, "signal_type": said.signal_type,
        "monitoring_service": said.monitoring_service, "metric_namespace": first.metric_namespace,
    }  # fmt: skip
    return {name: text for name, text in found.items() if text}


def _context(value: Any) -> Context:
    """It is of many kinds, and one that is not known costs the context, not the alert."""
    try:
        return converted(Context, value, "Azure Monitor")
    except Rejected:
        return Context()


def _told(said: Essentials, context: Context, criteria: Sequence[Criterion]) -> dict[str, str]:
    """The rule's own words, what happened, and which limits were passed."""
    notes, event = _texts(context.annotations), _texts(context.properties).get("title") or context.operation_name
    passed = [
        f"{one.metric_name or one.metric_measure_column or 'results'} {one.operator} {one.threshold}"
        + (f": {one.metric_value}" if one.metric_value is not None else "")
        for one in criteria
        if one.operator
    ]
    return {
        "summary": said.description or notes.get("summary") or "",
        "message": event or notes.get("description") or "", "description": "; ".join(passed),
    }  # fmt: skip


def _named(dimensions: Sequence[Dimension] | None) -> dict[str, str]:
    return {one.name: "" if one.value is None else str(one.value) for one in dimensions or () if one.name}


def _texts(value: Any) -> dict[str, str]:
    """Those of an object's values that are texts or numbers."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: str(text) for name, text in pairs if isinstance(text, str | int | float) and str(text)}


def _number(said: Said) -> float | None:
    try:
        return None if said is None else float(said)
    except (ValueError, OverflowError):
        return None
