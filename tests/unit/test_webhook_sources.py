"""What each monitoring system sends, in the form that its documentation shows: read, repeated, ended, and spoilt."""

import copy
import hmac
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from pipeline.errors import Rejected
from pipeline.gateway.webhooks import SOURCES, signed
from pipeline.stages.fingerprints import Fingerprints
from schemas import Anomaly, Metric
from tests.program import ROOT
from tests.unit.test_gateway import client
from tests.unit.test_webhooks import ODD, taken

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
HELP = (ROOT / "deploy" / "WEBHOOKS.md").read_text()

DATADOG = {
    "alert_id": "4711", "alert_transition": "Triggered", "alert_cycle_key": "88112233", "alert_type": "error",
    "alert_title": "[P2] [Triggered on {host:web-7,service:basket}] Queue is filling", "alert_priority": "P2",
    "alert_scope": "host:web-7,service:basket", "alert_status": "basket.queue over host:web-7 was > 900 for 5m",
    "alert_metric": "basket.queue", "message": "Look at the consumers.", "hostname": "web-7", "date": "1795608000000",
    "tags": "env:prod,host:web-7,service:basket,team:a,team:b,urgent", "link": "https://dd.example/monitors/4711",
}  # fmt: skip

CLOUDWATCH = {
    "AlarmName": "orders-db connections", "AlarmDescription": "Too many connections.", "AWSAccountId": "210987654321",
    "NewStateValue": "ALARM", "OldStateValue": "OK", "StateChangeTime": "2026-11-25T12:00:00.123+0000",
    "NewStateReason": "Threshold Crossed: 1 datapoint [913.0 (25/11/26 11:55:00)] was greater than the limit (800).",
    "Region": "EU (Frankfurt)",
    "AlarmArn": "arn:aws:cloudwatch:eu-central-1:210987654321:alarm:orders-db connections",
    "Trigger": {
        "MetricName": "DatabaseConnections", "Namespace": "AWS/RDS", "StatisticType": "Statistic", "Unit": "Count",
        "Dimensions": [{"name": "DBInstanceIdentifier", "value": "orders-db"}], "Period": 300, "Threshold": 800.0,
    },
}  # fmt: skip

PAGERDUTY = {
    "event": {
        "id": "01EVENT", "event_type": "incident.triggered", "resource_type": "incident",
        "occurred_at": "2026-11-25T12:00:00.500Z", "agent": None, "client": {"name": "Monitoring"},
        "data": {
            "id": "QINC1", "type": "incident", "status": "triggered", "number": 77, "title": "Checkout answers 500",
            "html_url": "https://team.pagerduty.example/incidents/QINC1", "incident_key": "checkout-500",
            "created_at": "2026-11-25T12:00:00Z", "urgency": "high", "resolve_reason": None,
            "service": {"id": "PSVC", "summary": "checkout", "type": "service_reference"},
            "priority": {"id": "PPRIO", "summary": "P1", "type": "priority_reference"},
            "teams": [{"id": "PT", "summary": "shop", "type": "team_reference"}],
            "assignees": [{"id": "PU", "summary": "Somebody", "type": "user_reference"}],
            "escalation_policy": {"id": "PE", "summary": "by day", "type": "escalation_policy_reference"},
        },
    },
}  # fmt: skip

SENTRY = {
    "action": "triggered", "installation": {"uuid": "a"}, "actor": {"id": "sentry", "type": "application"},
    "data": {
        "event": {
            "event_id": "e0e1", "issue_id": "4242", "level": "fatal", "culprit": "cart in total", "message": "",
            "title": "KeyError: 'price'", "datetime": "2026-11-25T12:00:00.250000Z", "project": 3,
            "metadata": {"type": "KeyError", "value": "'price'", "filename": "cart.py"},
            "tags": [["environment", "prod"], ["level", "fatal"], ["release", "7.1"]],
            "url": "https://sentry.example/api/0/projects/shop/basket/events/e0e1/",
            "web_url": "https://sentry.example/organizations/shop/issues/4242/events/e0e1/",
        },
        "triggered_rule": "New in production",
    },
}  # fmt: skip
ISSUE = {
    "id": "4242", "shortId": "BASKET-9", "title": "KeyError: 'price'", "culprit": "cart in total", "level": "fatal",
    "status": "unresolved", "substatus": "regressed", "statusDetails": {}, "lastSeen": "2026-11-25T12:00:00Z",
    "metadata": {"type": "KeyError", "value": "'price'"}, "project": {"id": "3", "slug": "basket", "name": "Basket"},
    "web_url": "https://sentry.example/issues/4242/",
}  # fmt: skip
METRIC_ALERT = {
    "id": "11", "identifier": "5", "projects": ["basket"], "date_started": "2026-11-25T12:00:00.000000Z",
    "date_closed": None, "title": "Quiet Otter",
    "alert_rule": {"id": "7", "name": "Too many errors", "environment": "prod", "aggregate": "count()"},
}  # fmt: skip

ZABBIX = {
    "url": "https://pulseguard.example/v1/webhooks/zabbix", "event_id": "90210", "event_value": "1",
    "trigger_id": "13377", "name": "Disk is nearly full on db-3", "host": "db-3", "nseverity": "4",
    "opdata": "97 % used", "description": "Free some.", "started": "1795608000", "ended": "{EVENT.RECOVERY.TIMESTAMP}",
    "tags": '[{"tag":"service","value":"ledger"},{"tag":"env","value":"prod"},{"tag":"scope","value":"capacity"},'
    '{"tag":"scope","value":"disk"}]',
    "link": "https://zabbix.example/tr_events.php?triggerid=13377&eventid=90210",
}  # fmt: skip

VM = "/subscriptions/11aa/resourcegroups/shop/providers/microsoft.compute/virtualmachines/checkout-vm"
AZURE = {
    "schemaId": "azureMonitorCommonAlertSchema",
    "data": {
        "essentials": {
            "alertId": "/subscriptions/11aa/providers/Microsoft.AlertsManagement/alerts/0a1b",
            "alertRule": "CPU is busy", "severity": "Sev1", "signalType": "Metric", "monitorCondition": "Fired",
            "monitoringService": "Platform", "alertTargetIDs": [VM], "configurationItems": ["checkout-vm"],
            "originAlertId": "11aa_shop_microsoft.insights_metricAlerts_CPU is busy_-117781227",
            "firedDateTime": "2026-11-25T12:00:00.3713213Z", "description": "Look at the queue.",
            "targetResourceGroup": "shop", "targetResourceType": "microsoft.compute/virtualmachines",
            "investigationLink": "https://portal.azure.example/alerts/0a1b", "essentialsVersion": "1.0",
        },
        "alertContext": {
            "properties": None, "conditionType": "SingleResourceMultipleMetricCriteria",
            "condition": {
                "windowSize": "PT5M",
                "allOf": [
                    {
                        "metricName": "Percentage CPU", "metricNamespace": "Microsoft.Compute/virtualMachines",
                        "operator": "GreaterThan", "threshold": "25", "timeAggregation": "Average",
                        "dimensions": [{"name": "Core", "value": "7"}], "metricValue": 31.5,
                    },
                ],
            },
        },
        "customProperties": {"env": "prod", "team": "shop"},
    },
}  # fmt: skip

NEWRELIC = {
    "id": "c5faa7e6-7b54", "state": "ACTIVATED", "trigger": "STATE_CHANGE", "priority": "CRITICAL",
    "title": "Checkout query result is > 1.0 for 1 minutes on 'Too many errors'", "impactedEntities": ["checkout"],
    "alertConditionNames": ["Too many errors"], "alertPolicyNames": ["Golden Signals"],
    "description": ["Look at the last deployment."], "createdAt": 1795608000500, "updatedAt": 1795608060000,
    "closedAt": None, "issueUrl": "https://nr.example/accounts/1/issues/c5faa7e6-7b54", "workflowName": "on call",
    "accountId": 4420147, "tags": {"env": "prod", "team": ["shop", "web"]},
}  # fmt: skip

FIRES: dict[str, dict[str, Any]] = {
    "datadog": DATADOG, "cloudwatch": CLOUDWATCH, "pagerduty": PAGERDUTY, "sentry": SENTRY,
    "zabbix": ZABBIX, "azuremonitor": AZURE, "newrelic": NEWRELIC,
}  # fmt: skip
"""By source, what tells that something is wrong."""

ENDS: dict[str, dict[str, Any]] = {
    "datadog": {
        "alert_transition": "Recovered", "alert_type": "success", "date": "1795609000000",
        "alert_title": "[P2] [Recovered on {host:web-7,service:basket}] Queue is filling",
    },
    "cloudwatch": {
        "NewStateValue": "OK", "OldStateValue": "ALARM", "StateChangeTime": "2026-11-25T12:10:00.123+0000",
        "AlarmDescription": None,
    },
    "pagerduty": {
        "event": {
            "id": "01OTHER", "event_type": "incident.resolved", "occurred_at": "2026-11-25T12:09:00Z",
            "data": {"status": "resolved", "title": "Checkout answered 500"},
        },
    },
    "sentry": {"action": "resolved", "data": {"issue": ISSUE | {"status": "resolved"}}},
    "zabbix": {"event_value": "0", "ended": "1795609000"},
    "azuremonitor": {
        "data": {
            "essentials": {"monitorCondition": "Resolved", "resolvedDateTime": "2026-11-25T12:10:00.2246313Z"},
            "alertContext": {"condition": {"allOf": [
                {"metricName": "Percentage CPU", "dimensions": [{"name": "Core", "value": "7"}], "metricValue": 7.7},
            ]}},
        },
    },
    "newrelic": {
        "state": "CLOSED", "updatedAt": 1795608600000, "closedAt": 1795608600000,
        "impactedEntities": ["search", "checkout"], "alertConditionNames": ["Too slow", "Too many errors"],
    },
}  # fmt: skip
"""By source, what is different when it is over."""

READ: dict[str, Anomaly] = {
    "datadog": Anomaly(
        error_type="Queue is filling", service="basket", environment="prod", severity="error",
        id="datadog/4711/host:web-7,service:basket/88112233/P2", fingerprint="datadog/4711/host:web-7,service:basket",
        message="basket.queue over host:web-7 was > 900 for 5m. Look at the consumers.",
        labels={"host": "web-7", "team": "a,b", "urgent": ""}, metric=Metric("basket.queue"),
        occurred_at=datetime(2026, 11, 25, 12, 0, tzinfo=UTC), source="datadog",
        link="https://dd.example/monitors/4711",
    ),
    "cloudwatch": Anomaly(
        error_type="orders-db connections", service="orders-db",
        id="cloudwatch/arn:aws:cloudwatch:eu-central-1:210987654321:alarm:orders-db connections/"
        "2026-11-25T12:00:00.123+0000/ALARM",
        fingerprint="cloudwatch/arn:aws:cloudwatch:eu-central-1:210987654321:alarm:orders-db connections",
        message="Too many connections. Threshold Crossed: 1 datapoint [913.0 (25/11/26 11:55:00)] was greater than the "
        "limit (800).",
        labels={
            "DBInstanceIdentifier": "orders-db", "region": "eu-central-1", "account": "210987654321",
            "metric_namespace": "AWS/RDS",
        },
        metric=Metric("DatabaseConnections", 913.0, unit="Count"),
        occurred_at=datetime(2026, 11, 25, 12, 0, 0, 123000, UTC), source="cloudwatch",
        link="https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1"
        "#alarmsV2:alarm/orders-db%20connections",
    ),
    "pagerduty": Anomaly(
        error_type="Checkout answers 500", service="checkout", severity="critical", id="pagerduty/QINC1/critical",
        fingerprint="pagerduty/QINC1", message="Checkout answers 500",
        labels={
            "priority": "P1", "urgency": "high", "number": "77", "incident_key": "checkout-500",
            "escalation_policy": "by day", "team": "shop",
        },
        occurred_at=datetime(2026, 11, 25, 12, 0, 0, 500000, UTC), source="pagerduty",
        link="https://team.pagerduty.example/incidents/QINC1",
    ),
    "sentry": Anomaly(
        error_type="KeyError", service="basket", environment="prod", severity="critical", id="sentry/4242/e0e1",
        fingerprint="sentry/4242", message="KeyError: 'price'",
        labels={"level": "fatal", "release": "7.1", "culprit": "cart in total", "rule": "New in production"},
        occurred_at=datetime(2026, 11, 25, 12, 0, 0, 250000, UTC), source="sentry",
        link="https://sentry.example/organizations/shop/issues/4242/events/e0e1/",
    ),
    "zabbix": Anomaly(
        error_type="Disk is nearly full on db-3", service="ledger", environment="prod", severity="error",
        id="zabbix/90210/error", fingerprint="zabbix/13377", message="Free some. 97 % used",
        labels={"scope": "capacity,disk", "host": "db-3"}, occurred_at=datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
        source="zabbix", link="https://zabbix.example/tr_events.php?triggerid=13377&eventid=90210",
    ),
    "azuremonitor": Anomaly(
        error_type="CPU is busy", service="checkout-vm", environment="prod", severity="error",
        id="azuremonitor//subscriptions/11aa/providers/Microsoft.AlertsManagement/alerts/0a1b/Fired",
        fingerprint=f"azuremonitor/cpu is busy/{VM}/Core=7",
        message="Look at the queue. Percentage CPU GreaterThan 25: 31.5",
        labels={
            "team": "shop", "Core": "7", "resource_id": VM, "resource_group": "shop", "signal_type": "Metric",
            "resource_type": "microsoft.compute/virtualmachines", "monitoring_service": "Platform",
            "metric_namespace": "Microsoft.Compute/virtualMachines",
        },
        metric=Metric("Percentage CPU", 31.5), occurred_at=datetime(2026, 11, 25, 12, 0, 0, 371321, UTC),
        source="azuremonitor", link="https://portal.azure.example/alerts/0a1b",
    ),
    "newrelic": Anomaly(
        error_type="Too many errors", service="checkout", environment="prod", severity="critical",
        id="newrelic/c5faa7e6-7b54/critical", fingerprint="newrelic/c5faa7e6-7b54",
        message="Checkout query result is > 1.0 for 1 minutes on 'Too many errors'. Look at the last deployment.",
        labels={
            "team": "shop,web", "condition": "Too many errors", "policy": "Golden Signals", "entity": "checkout",
            "workflow": "on call", "account": "4420147",
        },
        occurred_at=datetime(2026, 11, 25, 12, 0, 0, 500000, UTC), source="newrelic",
        link="https://nr.example/accounts/1/issues/c5faa7e6-7b54",
    ),
}  # fmt: skip
"""By source, the anomaly that it is."""

DECIDES: dict[str, set[str]] = {
    "datadog": {"alert_id"}, "cloudwatch": {"AlarmName", "NewStateValue"}, "pagerduty": {"id", "event_type", "data"},
    "sentry": {"action", "data"}, "zabbix": {"event_id", "event_value"},
    "azuremonitor": {"schemaId", "alertId", "monitorCondition"}, "newrelic": {"id", "state"},
}  # fmt: skip
"""By source, the fields that tell what a body is: one that says nothing there is refused."""

SIGNED = [
    ("pagerduty", "pagerduty_webhook_secret", "x-pagerduty-signature"),
    ("sentry", "sentry_client_secret", "sentry-hook-signature"),
]
"""Source, its setting, and the header that proves it."""


def read(source: str, payload: Any) -> list[Anomaly]:
    return SOURCES[source](json.dumps(payload).encode())


def merged(payload: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """The payload with some of its fields changed, however deep."""
    deeper = {
        name: merged(payload[name], value)
        for name, value in changed.items()
        if isinstance(value, dict) and isinstance(payload.get(name), dict)
    }
    return payload | changed | deeper


def leaves(payload: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value that holds no others."""
    if isinstance(payload, dict | list) and payload:
        for key, value in payload.items() if isinstance(payload, dict) else enumerate(payload):
            yield from leaves(value, (*path, key))
    else:
        yield path


def nodes(payload: Any) -> list[tuple[Any, ...]]:
    """The way to each value but the whole, whether it holds others or none."""
    return list(dict.fromkeys(way[:depth] for way in leaves(payload) for depth in range(1, len(way) + 1)))


def spoilt(payload: Any, path: tuple[Any, ...], value: Any) -> Any:
    found = copy.deepcopy(payload)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


def refusal(source: str, payload: Any) -> str:
    """Why it is refused, by the reader or later by the worker; nothing where it is taken."""
    try:
        for one in read(source, payload):
            taken(one)
    except Rejected as exc:
        return exc.reason
    return ""


def fault(anomaly: Anomaly) -> str:
    return Fingerprints().of(anomaly)


def test_every_source_is_played_here_and_described() -> None:
    """A new one wants its samples in the tables above, a row in the README and a part of deploy/WEBHOOKS.md."""
    own = SOURCES.keys() - {"alertmanager", "grafana"}  # whose form is Prometheus's: test_webhooks.py
    assert own == FIRES.keys() == ENDS.keys() == READ.keys() == DECIDES.keys()
    table = (ROOT / "README.md").read_text().split("| source | what to configure there |", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE) == list(SOURCES)
    assert set(re.findall(r"/webhooks/([a-z]+)", HELP)) == SOURCES.keys()


@pytest.mark.parametrize("source", list(FIRES))
def test_what_fires_keeps_what_it_says(source: str) -> None:
    """Every field that the sender has a word for."""
    assert read(source, FIRES[source]) == [READ[source]]
    assert taken(READ[source]) == READ[source]


@pytest.mark.parametrize("source", list(FIRES))
def test_a_repetition_is_the_same_anomaly_and_the_end_ends_it(source: str) -> None:
    """The end is of the same fault, has an id of its own, and is the same one when it is told again."""
    (first,), (again,) = read(source, FIRES[source]), read(source, FIRES[source] | {"unknown": [{}]})
    over = merged(FIRES[source], ENDS[source])
    (end,), (end_again,) = read(source, over), read(source, over)
    assert first == again
    assert end == end_again
    assert (first.status, end.status) == ("firing", "resolved")
    assert fault(first) == fault(end)
    assert None not in {first.id, end.id}
    assert first.id != end.id


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("source", list(FIRES))
def test_nothing_that_a_text_holds_loses_the_alert(source: str, text: str) -> None:
    """Each text in turn, but those that tell what it is; the anomaly is one that the worker takes."""
    for path in leaves(FIRES[source]):
        if path[-1] not in DECIDES[source]:
            for one in read(source, spoilt(FIRES[source], path, text)):
                taken(one)


@given(st.sampled_from(sorted(FIRES)), st.text(max_size=400), st.integers(min_value=0))
def test_a_text_of_any_kind_is_read(source: str, text: str, number: int) -> None:
    """As above, with whatever may come to somebody's mind."""
    paths = [path for path in leaves(FIRES[source]) if path[-1] not in DECIDES[source]]
    for one in read(source, spoilt(FIRES[source], paths[number % len(paths)], text)):
        taken(one)


@pytest.mark.parametrize("source", list(FIRES))
def test_null_is_not_said(source: str) -> None:
    """Of any field: read without it, or refused in words where it is needed."""
    for path in leaves(FIRES[source]):
        reason = refusal(source, spoilt(FIRES[source], path, None))
        assert not reason or (path[-1] in DECIDES[source] and "not a notification of" in reason), path


@pytest.mark.parametrize("source", list(FIRES))
@pytest.mark.parametrize("wrong", [b"", b"{", b"[]", b"{}", b"\xff", b"1", b'"x"', b'{"alerts": []}', b"null"])
def test_what_is_none_of_a_senders_is_refused(source: str, wrong: bytes) -> None:
    """With the reason, and nothing is guessed."""
    with pytest.raises(Rejected, match="not a notification of"):
        SOURCES[source](wrong)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(sorted(FIRES)), st.integers(min_value=0), ANYTHING)
def test_a_field_of_another_kind_is_refused_or_read(source: str, number: int, value: Any) -> None:
    """Never a bug: a sender's next version may hold anything anywhere."""
    paths = list(leaves(FIRES[source]))
    reason = refusal(source, spoilt(FIRES[source], paths[number % len(paths)], value))
    assert not reason or "not a notification of" in reason


@pytest.mark.parametrize("source", list(FIRES))
@pytest.mark.parametrize("text", ["", "x", "\ud800"])
def test_a_text_where_none_may_stand_is_refused_or_read(source: str, text: str) -> None:
    """In place of whatever holds other values, too, and half a surrogate like any other text."""
    for path in nodes(FIRES[source]):
        reason = refusal(source, spoilt(FIRES[source], path, text))
        assert not reason or "not a notification of" in reason, path


def test_datadogs_template_is_the_one_that_is_described() -> None:
    """Pasted from the page and filled in as Datadog does: every field that is read is in it, and no other."""
    template = re.findall(r"```json\n(.*?)```", HELP, re.DOTALL)[0]
    assert set(json.loads(template)) == set(DATADOG)
    # What has no value stays as it is.
    (bare,) = read("datadog", json.loads(template) | {"alert_id": "4711"})
    assert bare == Anomaly(
        error_type="monitor 4711", labels={}, source="datadog", fingerprint="datadog/4711/", status="firing"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("transition", "kind", "priority", "severity", "status"),
    [
        ("Triggered", "error", "P1", "critical", "firing"),
        ("Triggered", "error", "P5", "info", "firing"),
        ("Triggered", "error", "", "error", "firing"),
        ("Re-Triggered", "error", "$ALERT_PRIORITY", "error", "firing"),
        ("Warn", "warning", "P1", "warning", "firing"),
        ("Re-Warn", "", "P1", "warning", "firing"),
        ("Renotify", "warning", "P1", "warning", "firing"),
        ("No Data", "error", "P3", "warning", "firing"),
        ("Recovered", "success", "", None, "resolved"),
        ("", "error", "", "error", "firing"),
    ],
)
def test_datadogs_transitions(transition: str, kind: str, priority: str, severity: str | None, status: str) -> None:
    """The monitor's priority counts, but while it only warns; all that is no recovery fires."""
    changed = {"alert_transition": transition, "alert_type": kind, "alert_priority": priority}
    (found,) = read("datadog", DATADOG | changed)
    assert (found.severity, found.status) == (severity, status)


def test_datadogs_reminders_are_no_occurrences_but_what_gets_worse_is() -> None:
    """Within one cycle; groups of a monitor are faults of their own, in whatever order their tags come."""
    (first,) = read("datadog", DATADOG)
    (reminder,) = read("datadog", DATADOG | {"alert_transition": "Renotify", "date": "1795609999000"})
    (warns,) = read("datadog", DATADOG | {"alert_transition": "Warn"})
    (other,) = read("datadog", DATADOG | {"alert_scope": "service:basket,host:web-8"})
    (turned,) = read("datadog", DATADOG | {"alert_scope": "service:basket, host:web-7"})
    (later,) = read("datadog", DATADOG | {"alert_cycle_key": "99"})
    assert first.id == reminder.id == turned.id
    assert len({first.id, warns.id, other.id, later.id}) == 4
    assert fault(first) == fault(warns) == fault(later) == fault(turned) != fault(other)


def by_sns(message: str, **changed: str) -> dict[str, str]:
    """As SNS wraps it."""
    return {
        "Type": "Notification", "MessageId": "0b1c", "TopicArn": "arn:aws:sns:eu-central-1:210987654321:alarms",
        "Subject": "ALARM", "Message": message, "Timestamp": "2026-11-25T12:00:01.000Z", "SignatureVersion": "1",
        "Signature": "AA==", "SigningCertURL": "https://sns.eu-central-1.amazonaws.com/x.pem",
    } | changed  # fmt: skip


CONFIRM = {
    "Type": "SubscriptionConfirmation", "Token": "2336412f37",
    "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37",
}  # fmt: skip


def test_sns_wraps_an_alarm_or_does_not() -> None:
    """Both ways it is the same anomaly; what is published to the topic and is no alarm is refused."""
    assert read("cloudwatch", by_sns(json.dumps(CLOUDWATCH))) == [READ["cloudwatch"]]
    for text in ("", "hello", "{}", "[]", "\ud800"):
        assert "not a notification of CloudWatch" in refusal("cloudwatch", by_sns(text))


def test_a_subscription_is_told_to_a_human_and_never_fetched() -> None:
    """The topic, the host and the token, in the log; nothing else is done about it."""
    with capture_logs() as logs:
        assert read("cloudwatch", by_sns("", **CONFIRM)) == []
    assert logs == [
        {
            "event": "sns_subscription", "log_level": "warning", "message": "SubscriptionConfirmation",
            "topic": "arn:aws:sns:eu-central-1:210987654321:alarms", "host": "sns.eu-central-1.amazonaws.com",
            "token": "2336412f37",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"SubscribeURL": "http://sns.eu-central-1.amazonaws.com/"},
        {"SubscribeURL": "https://sns.eu-central-1.amazonaws.com.evil.example/"},
        {"SubscribeURL": "https://sns.eu-central-1.amazonaws.com@evil.example/"},
        {"SubscribeURL": "https://evil.example/sns.eu-central-1.amazonaws.com"},
        {"SubscribeURL": "https://sns.eu-central-1.amazonaws.com:81/"},
        {"SubscribeURL": "https://[/"},
        {"SubscribeURL": ""},
        {"Token": "a b"},
        {"Token": ""},
        {"TopicArn": "arn:aws:sns:eu-central-1:210987654321:alarms\nforged"},
    ],
)
def test_a_subscription_that_is_not_amazons_is_refused_and_not_logged(changed: dict[str, str]) -> None:
    """Whoever finds the address can post one."""
    with capture_logs() as logs:
        assert "is not one of Amazon's" in refusal("cloudwatch", by_sns("", **CONFIRM | changed))
    assert logs == []


def test_cloudwatchs_other_alarms() -> None:
    """A composite one has no metric, metric mathematics no name, an old one no ARN; several values are none."""
    (composite,) = read("cloudwatch", {"AlarmName": "all of it", "NewStateValue": "ALARM", "AlarmRule": "ALARM(a)"})
    (maths,) = read("cloudwatch", CLOUDWATCH | {"Trigger": {"Metrics": [{"Id": "m1"}], "Threshold": 1}})
    (old,) = read("cloudwatch", {name: value for name, value in CLOUDWATCH.items() if name != "AlarmArn"})
    (few,) = read("cloudwatch", CLOUDWATCH | {
        "NewStateReason": "Threshold Crossed: 2 datapoints [913.0 (25/11/26), 901.0 (25/11/26)] were greater.",
    })  # fmt: skip
    assert (composite.error_type, composite.id, composite.service, composite.metric) == ("all of it", None, None, None)
    assert (maths.metric, maths.service) == (None, None)
    assert (old.fingerprint, old.link) == ("cloudwatch/210987654321/EU (Frankfurt)/orders-db connections", None)
    assert few.metric == Metric("DatabaseConnections", unit="Count")


@pytest.mark.parametrize(
    ("reason", "value"),
    [
        ("1 out of the last 1 datapoints [1234.5 (06/03/15 17:43:27)] was greater than the threshold (0.0)", 1234.5),
        ("Threshold Crossed: 1 datapoint (-10.0) was less than the threshold (1.0).", -10.0),
        ("1 datapoint [1.5E-4 (06/03/15 17:43:27)] was greater", 1.5e-4),
        ("1 datapoint [1.2.3 (06/03/15 17:43:27)] was greater", None),
        ("no datapoint was received", None),
    ],
)
def test_cloudwatchs_reason_holds_the_value(reason: str, value: float | None) -> None:
    """Where it tells one."""
    (found,) = read("cloudwatch", CLOUDWATCH | {"NewStateReason": reason})
    assert found.metric == Metric("DatabaseConnections", value, unit="Count")


def by_pagerduty(event_type: str, **data: Any) -> list[Anomaly]:
    return read("pagerduty", merged(PAGERDUTY, {"event": {"id": event_type, "event_type": event_type, "data": data}}))


def test_pagerdutys_incident_is_one_anomaly_until_it_gets_worse() -> None:
    """Whatever people do about it; reopened it is another, and its second end another end."""
    (first,) = by_pagerduty("incident.triggered", priority=None)
    for event in ("acknowledged", "unacknowledged", "escalated", "delegated", "reassigned", "of_a_later_version"):
        assert by_pagerduty(f"incident.{event}", priority=None)[0].id == first.id
    (worse,) = by_pagerduty("incident.priority_updated")
    (again,) = by_pagerduty("incident.reopened")
    assert (first.severity, worse.severity) == ("error", "critical")
    assert len({first.id, worse.id, again.id}) == 3
    assert by_pagerduty("incident.priority_updated", status="resolved") == []


@pytest.mark.parametrize(
    "event",
    [
        {"event_type": "pagey.ping", "data": {"type": "ping", "message": "hello"}},
        {"event_type": "incident.annotated", "data": {"type": "incident_note", "id": "P", "content": "x"}},
        {"event_type": "service.updated", "data": {"type": "service", "id": "P"}},
    ],
)
def test_pagerdutys_other_events_tell_nothing(event: dict[str, Any]) -> None:
    """They are taken: after three refusals PagerDuty sends nothing for a day."""
    assert read("pagerduty", {"event": {"id": "1"} | event}) == []


@pytest.mark.parametrize(
    ("priority", "urgency", "severity"),
    [("SEV-1", "low", "critical"), ("sev2", "low", "error"), ("P5", "high", "info"), ("Blue", "low", "warning"),
     (None, "low", "warning"), (None, None, "error")],
)  # fmt: skip
def test_pagerdutys_severities(priority: str | None, urgency: str | None, severity: str) -> None:
    """A priority that says nothing to us leaves it to the urgency."""
    (found,) = by_pagerduty("incident.triggered", priority={"summary": priority}, urgency=urgency)
    assert found.severity == severity


def test_a_signature_is_of_the_body_and_of_one_of_the_secrets() -> None:
    """As while a secret is changed, on either side; anything else proves nothing."""
    body, ours = b"{}", hmac.new(b"ours", b"{}", "sha256").hexdigest()
    for header in (ours, f"v1={ours}", f"v1={'0' * 64}, v1={ours}"):
        assert signed("other, ours", body, header)
    for header in ("", "v1=", f"v2={ours}", ours[:-1], "v1=\xe9", ours.upper()):
        assert not signed("ours", body, header)
    assert not signed("theirs", body, ours)
    assert not signed("ours", b"{ }", ours)


def test_a_secret_of_no_letters_is_none() -> None:
    """A comma that was left behind lets nobody sign with nothing."""
    body = b"{}"
    for secrets in ("ours,", ",ours", "ours, ,", ","):
        assert not signed(secrets, body, hmac.new(b"", body, "sha256").hexdigest())


@pytest.mark.parametrize(("source", "setting", "header"), SIGNED)
def test_where_a_secret_is_set_only_what_is_signed_is_read(source: str, setting: str, header: str) -> None:
    """401 before anything is read; the signed body is then refused for what it holds."""
    right = hmac.new(b"ours", b"{}", "sha256").hexdigest()
    with client(**{setting: "ours"}) as gateway:
        for shown, status in (({}, 401), ({header: right[::-1]}, 401), ({header: right}, 400)):
            answer = gateway.post(f"/v1/webhooks/{source}", content=b"{}", headers=shown)
            assert (answer.status_code, answer.json()["error"]) == (status, status)
    with client() as gateway:
        assert gateway.post(f"/v1/webhooks/{source}", content=b"{}").status_code == 400


def by_sentry(action: str, **data: Any) -> list[Anomaly]:
    return read("sentry", {"action": action, "data": data, "installation": {"uuid": "a"}})


def test_sentrys_issue_fires_and_ends_again() -> None:
    """Each time that it does is told apart by its last event; what is only sorted tells nothing."""
    (alert,) = read("sentry", SENTRY)
    (created,) = by_sentry("created", issue=ISSUE)
    (back,) = by_sentry("unresolved", issue=ISSUE | {"lastSeen": "2026-11-25T13:00:00Z"})
    (end,) = by_sentry("resolved", issue=ISSUE)
    (end_again,) = by_sentry("resolved", issue=ISSUE | {"lastSeen": "2026-11-25T13:00:00Z"})
    assert len({one.id for one in (alert, created, back, end, end_again)}) == 5
    assert len({fault(one) for one in (alert, created, back, end, end_again)}) == 1
    assert (end.status, end.occurred_at, created.service) == ("resolved", None, "basket")
    assert created.labels == {"culprit": "cart in total", "short_id": "BASKET-9", "substatus": "regressed"}
    assert by_sentry("assigned", issue=ISSUE) == by_sentry("archived", issue=ISSUE) == []


def test_sentrys_metric_alert_gets_worse_and_ends() -> None:
    """Under one name; the rule is the error type, and the action the severity."""
    data = {
        "metric_alert": METRIC_ALERT, "description_title": "Critical: Too many errors", "web_url": "https://s.example/1",
        "description_text": "1000 events in the last 10 minutes",
    }  # fmt: skip
    (warns,), (critical,), (end,) = (by_sentry(action, **data) for action in ("warning", "critical", "resolved"))
    assert critical == Anomaly(
        error_type="Too many errors", service="basket", environment="prod", severity="critical",
        id="sentry/metric/11/critical", fingerprint="sentry/metric/11", labels={"rule": "7"}, source="sentry",
        message="Critical: Too many errors. 1000 events in the last 10 minutes", link="https://s.example/1",
        occurred_at=datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
    )  # fmt: skip
    assert (warns.severity, end.status, end.severity) == ("warning", "resolved", None)
    assert fault(warns) == fault(critical) == fault(end)
    assert len({warns.id, critical.id, end.id}) == 3


@pytest.mark.parametrize(
    ("action", "data"), [("created", {"comment": "hm", "issue_id": 1}), ("created", {"error": {}}), ("created", {})]
)
def test_sentrys_other_hooks_tell_nothing(action: str, data: dict[str, Any]) -> None:
    """An integration may have asked for them."""
    assert by_sentry(action, **data) == []


def test_sentrys_event_without_an_issue_is_known_by_what_it_is() -> None:
    """The rule of fingerprints stands in."""
    (found,) = read("sentry", merged(SENTRY, {"data": {"event": {"issue_id": None, "metadata": None}}}))
    assert (found.error_type, found.fingerprint, found.id) == ("KeyError: 'price'", None, "sentry//e0e1")


def test_zabbixs_parameters_are_those_that_are_described() -> None:
    """Every one that is read is in the table, and no other; a macro without a value says nothing."""
    table = dict(re.findall(r"^\| `(\w+)` \| `(.*)` \|$", HELP, re.MULTILINE))
    assert set(table) == set(ZABBIX)
    (bare,) = read("zabbix", table | {"event_id": "1", "event_value": "1", "tags": "*UNKNOWN*"})
    assert bare == Anomaly(
        error_type="trigger 1", labels={}, source="zabbix", id="zabbix/1/", fingerprint="zabbix/1"
    )  # fmt: skip


def test_zabbixs_problem_is_one_anomaly_and_its_trigger_the_fault() -> None:
    """Steps of an escalation say the same again; the next problem is another, of the same fault."""
    (first,) = read("zabbix", ZABBIX)
    (step,) = read("zabbix", ZABBIX | {"opdata": "98 % used"})
    (later,) = read("zabbix", ZABBIX | {"event_id": "90300"})
    (end,) = read("zabbix", merged(ZABBIX, ENDS["zabbix"]))
    assert first.id == step.id != later.id
    assert fault(first) == fault(later)
    assert end.occurred_at == datetime(2026, 11, 25, 12, 16, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changed", "service", "labels"),
    [
        ({"tags": ""}, "db-3", {"host": "db-3"}),
        ({"tags": "[]"}, "db-3", {"host": "db-3"}),
        ({"tags": "{"}, "db-3", {"host": "db-3"}),
        ({"tags": '[{"tag": "a"}, {"value": "b"}]'}, "db-3", {"a": "", "host": "db-3"}),
        ({"tags": "[]", "host": "{HOST.NAME}"}, None, {}),
    ],
)
def test_zabbixs_tags(changed: dict[str, str], service: str | None, labels: dict[str, str]) -> None:
    """What is no list of them costs the tags, not the problem."""
    (found,) = read("zabbix", ZABBIX | changed)
    assert (found.service, found.labels) == (service, labels)


AZURE_SAMPLE = {
    "schemaId": "azureMonitorCommonAlertSchema",
    "data": {
        "essentials": {
            "alertId": "/subscriptions/<subscription ID>/providers/Microsoft.AlertsManagement/alerts/"
            "aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e",
            "alertRule": "WCUS-R2-Gen2", "severity": "Sev3", "signalType": "Metric", "monitorCondition": "Resolved",
            "monitoringService": "Platform",
            "alertTargetIDs": [
                "/subscriptions/<sub>/resourcegroups/pipelinealertrg/providers/microsoft.compute/virtualmachines/wcus-r2-gen2"
            ],
            "configurationItems": ["wcus-r2-gen2"],
            "originAlertId": "3f2d4487-b0fc-4125-8bd5-7ad17384221e_PipeLineAlertRG_microsoft.insights_metricAlerts_"
            "WCUS-R2-Gen2_-117781227",
            "firedDateTime": "2019-03-22T13:58:24.3713213Z", "resolvedDateTime": "2019-03-22T14:03:16.2246313Z",
            "description": "", "essentialsVersion": "1.0", "alertContextVersion": "1.0",
        },
        "alertContext": {
            "properties": None, "conditionType": "SingleResourceMultipleMetricCriteria",
            "condition": {
                "windowSize": "PT5M",
                "allOf": [
                    {
                        "metricName": "Percentage CPU", "metricNamespace": "Microsoft.Compute/virtualMachines",
                        "operator": "GreaterThan", "threshold": "25", "timeAggregation": "Average",
                        "dimensions": [{"name": "ResourceId", "value": "a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1"}],
                        "metricValue": 7.727,
                    },
                ],
            },
        },
        "customProperties": {"Key1": "Value1", "Key2": "Value2"},
    },
}  # fmt: skip
"""As Microsoft's page shows it."""
AZURE_CONTEXTS: list[tuple[Any, str | None, Metric | None, dict[str, str]]] = [
    (  # A search, by its second version: metricName is not there.
        {
            "properties": {"name1": "value1"}, "conditionType": "LogQueryCriteria",
            "condition": {"windowSize": "PT10M", "allOf": [{
                "searchQuery": "Heartbeat", "metricMeasureColumn": "CounterValue", "operator": "LowerThan",
                "targetResourceTypes": "['Microsoft.Compute/virtualMachines']", "threshold": "1",
                "timeAggregation": "Count", "dimensions": [{"name": "Computer", "value": "TestComputer"}],
                "metricValue": 0.0, "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1},
            }]},
        },
        "CounterValue LowerThan 1: 0.0", Metric("CounterValue", 0.0), {"Computer": "TestComputer"},
    ),
    (  # A search, by its first version.
        {"ResultCount": 2, "Threshold": 10000, "Dimensions": [{"name": "IP", "value": "1.1.1.1"}],
         "SearchResults": {"tables": []}, "IncludedSearchResults": "True", "AlertType": "Metric measurement"},
        None, None, {"IP": "1.1.1.1"},
    ),
    (
        {"interval": "PT1M", "expression": "sql_up > 0", "expressionValue": "0", "for": "PT2M",
         "labels": {"Environment": "Prod", "cluster": "myCluster1"},
         "annotations": {"summary": "alert on SQL availability"}},
        "alert on SQL availability", None, {"Environment": "Prod", "cluster": "myCluster1"},
    ),
    (
        {"channels": 1, "eventSource": "ServiceHealth", "operationName": "Microsoft.ServiceHealth/maintenance/action",
         "properties": {"title": "Scheduled Maintenance Pending", "region": "East US", "isHIR": "false"}},
        "Scheduled Maintenance Pending", None, {},
    ),
    (
        {"channels": "Operation", "operationName": "Microsoft.Compute/virtualMachines/restart/action"},
        "Microsoft.Compute/virtualMachines/restart/action", None, {},
    ),
    ({"condition": "of a later version", "labels": 7}, None, None, {}),
    (None, None, None, {}),
]  # fmt: skip
"""What the page shows of other kinds of alerts: the message, the metric and the labels."""


def test_microsofts_own_example_of_azure_monitor_is_read() -> None:
    """It is an end, of the fault that it would have opened."""
    (end,) = read("azuremonitor", AZURE_SAMPLE)
    (fires,) = read("azuremonitor", merged(AZURE_SAMPLE, {"data": {"essentials": {"monitorCondition": "Fired"}}}))
    assert (end.error_type, end.service, end.severity, end.status) == (
        "WCUS-R2-Gen2", "wcus-r2-gen2", "info", "resolved"
    )  # fmt: skip
    assert end.occurred_at == datetime(2019, 3, 22, 14, 3, 16, 224631, UTC)
    assert end.metric == Metric("Percentage CPU", 7.727)
    assert fault(end) == fault(fires)
    taken(end)


@pytest.mark.parametrize(("context", "message", "metric", "labels"), AZURE_CONTEXTS)
def test_azure_monitors_kinds_of_alerts(
    context: Any, message: str | None, metric: Metric | None, labels: dict[str, str]
) -> None:
    """Each tells its cause elsewhere; one that is not known costs no alert."""
    data = AZURE_SAMPLE["data"] | {"alertContext": context, "customProperties": None}  # type: ignore[operator]
    (found,) = read("azuremonitor", AZURE_SAMPLE | {"data": data})
    ours = {"resource_id", "signal_type", "monitoring_service"}
    assert (found.message, found.metric) == (message, metric)
    assert {name: text for name, text in (found.labels or {}).items() if name not in ours} == labels
    taken(found)


def by_azure(**changed: Any) -> Anomaly:
    """With other essentials, or another core."""
    core = changed.pop("core", "7")
    sent = copy.deepcopy(merged(AZURE, {"data": {"essentials": changed}}))
    sent["data"]["alertContext"]["condition"]["allOf"][0]["dimensions"][0]["value"] = core
    (found,) = read("azuremonitor", sent)
    return found


def test_azure_monitors_series_are_faults_of_their_own() -> None:
    """Each alert of one is an occurrence; how a resource's id is spelt does not matter."""
    first, again = by_azure(), by_azure(alertId="/subscriptions/11aa/alerts/2", firedDateTime="2026-11-25T13:00:00Z")
    assert first.id != again.id
    assert fault(first) == fault(again) == fault(by_azure(alertTargetIDs=[VM.upper()]))
    others = [
        by_azure(core="8"), by_azure(alertTargetIDs=[VM + "-2"]), by_azure(alertRule="Disk"), by_azure(alertRuleId="/r")
    ]  # fmt: skip
    assert len({fault(one) for one in (first, *others)}) == 5


def test_azure_monitors_resource_is_the_service() -> None:
    """What sends the data rather than the workspace that holds them; the rule's own property goes before."""
    assert by_azure(configurationItems=[f"{VM}/"]).service == "checkout-vm"
    assert by_azure(configurationItems=None).service == "checkout-vm"
    assert by_azure(configurationItems=[], alertTargetIDs=[]).service is None
    sent = merged(AZURE, {"data": {"customProperties": {"service": "checkout", "env": None}}})
    assert [(one.service, one.environment) for one in read("azuremonitor", sent)] == [("checkout", None)]


def test_azure_monitors_other_schemas_are_refused() -> None:
    """The reason names the field: whoever reads it enables the common schema."""
    for sent in (AZURE | {"schemaId": "AzureMonitorMetricAlert"}, {"schemaId": "Microsoft.Insights/activityLogs"}):
        assert "$.schemaId" in refusal("azuremonitor", sent)
    assert "alertId is empty" in refusal("azuremonitor", merged(AZURE, {"data": {"essentials": {"alertId": ""}}}))
    other = merged(AZURE, {"data": {"essentials": {"monitorCondition": "Acknowledged"}}})
    assert "monitorCondition" in refusal("azuremonitor", other)


def rendered(template: str, values: dict[str, Any]) -> Any:
    """As Handlebars does, with New Relic's helper ``json``: what has no value leaves a gap, but after ``else``."""

    def chosen(found: re.Match[str]) -> str:
        return found[2] if values.get(found[1]) else found[3]

    text = re.sub(r"\{\{#if ([\w.]+)\}\}(.*?)\{\{else\}\}(.*?)\{\{/if\}\}", chosen, template)
    text = re.sub(r"\{\{ json ([\w.]+) \}\}", lambda found: json.dumps(values[found[1]]), text)
    return json.loads(re.sub(r"\{\{ (\w+) \}\}", lambda found: str(values[found[1]]), text))


def test_newrelics_template_is_the_one_that_is_described() -> None:
    """Pasted from the page and filled in as New Relic does: every field that is read is in it, and no other."""
    (template,) = re.findall(r"```handlebars\n(.*?)```", HELP, re.DOTALL)
    values = {
        "issueId": NEWRELIC["id"], "state": "ACTIVATED", "triggerEvent": "STATE_CHANGE", "priority": "CRITICAL",
        "issueTitle": NEWRELIC["title"], "entitiesData.names": ["checkout"],
        "accumulations.conditionName": ["Too many errors"], "accumulations.policyName": ["Golden Signals"],
        "annotations.description": NEWRELIC["description"], "createdAt": 1795608000500, "updatedAt": 1795608060000,
        "issuePageUrl": NEWRELIC["issueUrl"], "workflowName": "on call", "nrAccountId": 4420147,
    }  # fmt: skip
    assert rendered(template, values) == NEWRELIC | {"tags": {}}
    bare = {name: value for name, value in values.items() if name not in {"annotations.description", "nrAccountId"}}
    (found,) = read("newrelic", rendered(template, bare | {"state": "CLOSED", "closedAt": 1795608600000}))
    assert (found.status, found.occurred_at) == ("resolved", datetime(2026, 11, 25, 12, 10, tzinfo=UTC))


def test_newrelics_own_payload_is_read() -> None:
    """What a webhook sends before anybody changes its template."""
    (found,) = read("newrelic", {
        "id": "0ea2df1c-7b54-402d-af79-f99601e0278c", "title": "db-3 query result is > 1.0 on 'Disk is nearly full'",
        "issueUrl": "https://radar-api.service.newrelic.example/accounts/1/issues/0ea2df1c?notifier=WEBHOOK",
        "priority": "CRITICAL", "impactedEntities": ["db-3"], "totalIncidents": 1, "state": "ACTIVATED",
        "trigger": "STATE_CHANGE", "isCorrelated": False, "createdAt": 1713755131352, "updatedAt": 1713769708699,
        "sources": ["newrelic"], "alertPolicyNames": ["Golden Signals"],
        "alertConditionNames": ["Disk is nearly full"], "workflowName": "by day",
    })  # fmt: skip
    assert (found.error_type, found.service, found.severity) == ("Disk is nearly full", "db-3", "critical")
    assert found.occurred_at == datetime(2024, 4, 22, 3, 5, 31, 352000, UTC)


def test_newrelics_issue_is_one_anomaly_until_it_gets_worse() -> None:
    """Whatever happens to it; what it is worse from is when it became that."""
    (warns,) = read("newrelic", NEWRELIC | {"state": "CREATED", "priority": "HIGH"})
    for trigger in ("STATE_CHANGE", "INCIDENT_ADDED", "INCIDENT_CLOSED", "USER_ACTION", "MERGE_REQUEST"):
        changed = {"priority": "HIGH", "trigger": trigger, "updatedAt": 1795609999000, "impactedEntities": ["a", "b"]}
        assert read("newrelic", NEWRELIC | changed)[0].id == warns.id
    (worse,) = read("newrelic", NEWRELIC | {"trigger": "PRIORITY_CHANGED"})
    (other,) = read("newrelic", NEWRELIC | {"id": "another"})
    assert worse.id != warns.id
    assert worse.occurred_at == datetime(2026, 11, 25, 12, 1, tzinfo=UTC)
    assert fault(warns) == fault(worse) != fault(other)


@pytest.mark.parametrize(
    ("priority", "severity"),
    [("CRITICAL", "critical"), ("High", "warning"), ("MEDIUM", "warning"), ("LOW", "info"), ("?", None), (None, None)],
)
def test_newrelics_priorities(priority: str | None, severity: str | None) -> None:
    """HIGH is what New Relic makes of a warning."""
    assert read("newrelic", NEWRELIC | {"priority": priority})[0].severity == severity


def test_newrelics_issue_without_names() -> None:
    """The title stands in for the condition, the id for the title; a tag that says something goes before the entity."""
    without = {"alertConditionNames": None, "impactedEntities": [None, "db"], "tags": {"service": ["", None]}}
    (titled,) = read("newrelic", NEWRELIC | without)
    (bare,) = read("newrelic", {"id": "7", "state": "CREATED"})
    (tagged,) = read("newrelic", NEWRELIC | {"tags": {"service": "basket"}})
    assert (titled.error_type, titled.service, tagged.service) == (NEWRELIC["title"], "db", "basket")
    assert bare == Anomaly(
        error_type="issue 7", labels={}, source="newrelic", id="newrelic/7/", fingerprint="newrelic/7"
    )  # fmt: skip
    for empty in ({"id": ""}, {"state": ""}):
        assert "id or state is empty" in refusal("newrelic", NEWRELIC | empty)
