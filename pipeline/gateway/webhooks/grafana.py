"""Grafana Alerting's webhook contact point: Alertmanager's form, with the values that were measured, and links.

https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/
"""

import msgspec

from pipeline.gateway.webhooks import alertmanager
from schemas import Anomaly, Metric


class Alert(alertmanager.Alert, frozen=True, rename="camel"):
    """One alert. ``values`` are those of the rule's queries and expressions, by their letters."""

    values: dict[str, float | None] | None = None
    dashboard_url: str | None = msgspec.field(default=None, name="dashboardURL")
    panel_url: str | None = msgspec.field(default=None, name="panelURL")


def read(body: bytes) -> list[Anomaly]:
    """An anomaly for each alert; a value that stands alone is its metric. Raises `Rejected`."""
    return [_told(alert) for alert in alertmanager.alerts(alertmanager.Notification[Alert], body, "Grafana")]


def _told(alert: Alert) -> Anomaly:
    values = [value for value in (alert.values or {}).values() if value is not None]
    link = alert.panel_url or alert.dashboard_url or alert.generator_url
    return alertmanager.told(alert, "grafana", link, Metric(value=values[0]) if len(values) == 1 else None)
