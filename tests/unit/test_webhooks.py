"""What monitoring systems send, as anomalies: every alert, none twice, and no end that is none."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from pipeline.alerts import anomaly_of
from pipeline.errors import Rejected
from pipeline.gateway.webhooks import SOURCES, changes
from pipeline.kafka import Message
from pipeline.stages import ingest
from pipeline.stages.fingerprints import Fingerprints
from schemas import Anomaly, Metric


def alert(pod: str = "api-1", **changed: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {
            "alertname": "KubePodCrashLooping", "severity": "critical", "namespace": "shop", "app": "api", "pod": pod,
            "env": "prod",
        },
        "annotations": {"summary": "Pod restarts", "description": f"{pod} restarts", "runbook_url": "https://r.example"},
        "startsAt": "2026-11-24T10:00:00.123456789Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example/graph", "fingerprint": f"fp-{pod}",
    } | changed  # fmt: skip


def body(*alerts: dict[str, Any], **changed: Any) -> bytes:
    """As Alertmanager sends it, with what is not looked at."""
    rest = {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "receiver": "pulseguard", "status": "firing"}
    return json.dumps(rest | {"alerts": list(alerts)} | changed).encode()


def read(source: str, *alerts: dict[str, Any]) -> list[Anomaly]:
    return SOURCES[source](body(*alerts))


def taken(anomaly: Anomaly) -> Anomaly:
    """The anomaly as the worker takes it. Raises `Rejected` for one that would be a dead letter."""
    value = msgspec.json.encode(anomaly)
    return ingest.decode(Message("anomalies", 0, 0, None, value, [], 0), 262_144)


def test_an_alert_keeps_what_it_says() -> None:
    """Name, service, environment and severity are fields; the rest stays labels; links are no message."""
    (found,) = read("alertmanager", alert())
    assert found == Anomaly(
        error_type="KubePodCrashLooping", service="api", environment="prod", severity="critical",
        id="alertmanager/fp-api-1/2026-11-24T10:00:00.123457+00:00/firing", message="Pod restarts. api-1 restarts",
        labels={"namespace": "shop", "pod": "api-1"}, occurred_at=datetime(2026, 11, 24, 10, 0, 0, 123457, UTC),
        source="alertmanager", link="https://prometheus.example/graph",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("summary", "description", "message"),
    [
        ("Pod restarts", "api-1 restarts.", "Pod restarts. api-1 restarts."),
        ("Pod restarts.", "api-1 restarts.", "Pod restarts. api-1 restarts."),
        ("Why?", "Nobody knows", "Why? Nobody knows"),
        ("Twice.", "Twice.", "Twice."),
    ],
)
def test_what_an_alert_says_reads_as_sentences(summary: str, description: str, message: str) -> None:
    """Annotations end with a full stop or not, as their author liked."""
    (found,) = read("alertmanager", alert(annotations={"summary": summary, "description": description}))
    assert found.message == message


def test_grafana_tells_its_value_and_where_to_look() -> None:
    """One value is the metric, several are none; the panel is nearer than the rule."""
    plain = alert(values={"B": 0.93, "C": None}, panelURL="https://grafana.example/d/1?viewPanel=2", silenceURL="x")
    one, many, null = read("grafana", plain, alert(values={"A": 1.0, "B": 2.0}), alert(values=None))
    assert (one.metric, one.link, one.source) == (
        Metric(value=0.93), "https://grafana.example/d/1?viewPanel=2", "grafana"
    )  # fmt: skip
    assert (many.metric, many.link, null.metric) == (None, "https://prometheus.example/graph", None)


def test_a_reminder_is_the_same_anomaly_and_a_new_start_is_another() -> None:
    """Repetition, and a pair of Alertmanagers, count once; the end has an id and a time of its own."""
    first, again, later = read("alertmanager", alert(), alert(), alert(startsAt="2026-11-24T11:00:00Z"))
    (end,) = read("alertmanager", alert(status="resolved", endsAt="2026-11-24T10:30:00+00:00"))
    assert first.id == again.id
    assert len({first.id, later.id, end.id}) == 3
    assert (end.status, end.occurred_at) == ("resolved", datetime(2026, 11, 24, 10, 30, tzinfo=UTC))
    assert read("alertmanager", alert(fingerprint=""))[0].id is None


def test_one_instance_that_is_resolved_ends_nothing_that_goes_on() -> None:
    """Of forty pods; the last one does, and another fault is another matter."""
    over = alert("api-2", status="resolved")
    other = alert("web-1", status="resolved", labels={"alertname": "TargetDown", "service": "web"})
    told = changes(read("alertmanager", alert(), over, other), Fingerprints())
    assert [(anomaly.status, anomaly.service) for _, anomaly in told] == [("firing", "api"), ("resolved", "web")]
    last = changes(read("alertmanager", alert(status="resolved"), over), Fingerprints())
    assert [anomaly.status for _, anomaly in last] == ["resolved", "resolved"]
    assert len({fault for fault, _ in last}) == 1


def test_an_end_names_its_time_and_gos_zero_time_is_none() -> None:
    """The same alert may be called resolved twice; a sender that does not say when says the year 1."""
    ends = ("2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z", "0001-01-01T00:00:00Z")
    one, two, unsaid = read("alertmanager", *(alert(status="resolved", endsAt=end) for end in ends))
    assert one.id != two.id
    assert (two.occurred_at, unsaid.occurred_at) == (datetime(2026, 11, 24, 11, tzinfo=UTC), None)


@pytest.mark.parametrize("source", ["alertmanager", "grafana"])
def test_where_alerts_were_left_out_nothing_that_may_go_on_is_resolved(source: str) -> None:
    """Unless the whole group is."""
    both = (alert(), alert("api-2", status="resolved"))
    assert [one.status for one in SOURCES[source](body(*both, truncatedAlerts=3))] == ["firing"]
    over = SOURCES[source](body(both[1], truncatedAlerts=3, status="resolved"))
    assert [one.status for one in over] == ["resolved"]


@pytest.mark.parametrize("source", ["alertmanager", "grafana"])
def test_alerts_that_were_left_out_are_logged_and_counted(source: str) -> None:
    """Nothing else tells of them: they are in no notification. One that is whole says nothing."""

    def counted() -> float:
        return REGISTRY.get_sample_value("pulseguard_alerts_left_out_total", {"source": source}) or 0

    before = counted()
    with structlog.testing.capture_logs() as logs:
        SOURCES[source](body(alert(), truncatedAlerts=7))
        SOURCES[source](body(alert()))
    assert [(line["event"], line["sender"].lower(), line["left_out"]) for line in logs] == [
        ("alerts_left_out", source, 7)
    ]
    assert counted() == before + 7


@pytest.mark.parametrize("source", ["alertmanager", "grafana"])
@pytest.mark.parametrize(
    "wrong",
    [b"", b"{", b"[]", b"{}", b"\xff", body(1), body({"labels": {"a": 1}}), body({"status": "maybe"}),
     body(alert(startsAt="yesterday")), body(alert(), truncatedAlerts=-1), body(alert(), truncatedAlerts=10**400)],  # type: ignore[arg-type]
)  # fmt: skip
def test_what_is_no_notification_is_refused(source: str, wrong: bytes) -> None:
    """With the reason; nothing is guessed."""
    with pytest.raises(Rejected, match="not a notification of"):
        SOURCES[source](wrong)


def test_an_empty_notification_tells_nothing() -> None:
    """It is no fault of the sender's either."""
    assert read("grafana") == []


@given(
    st.dictionaries(st.text(max_size=300), st.text(max_size=3000), max_size=80),
    st.dictionaries(st.text(max_size=30), st.text(max_size=30_000), max_size=4),
)
def test_whatever_an_alert_says_is_an_anomaly_that_is_taken(labels: dict[str, str], notes: dict[str, str]) -> None:
    """No alert of a notification is lost for what it holds: it is cut, and freed of what cannot be stored."""
    taken(anomaly_of(labels | {"alertname": labels.get("a", "")}, notes))


ODD = ["\ud800 half", "nul \0", "x" * 100_000, "\U0001f525" * 100_000, "\1" * 100_000, '"' * 100_000]


@pytest.mark.parametrize("text", ODD)
def test_what_cannot_be_stored_is_left_out(text: str) -> None:
    """Half surrogates, NULs, and what is longer than anybody reads, in bytes, in as many labels as there may be."""
    labels = dict.fromkeys(("alertname", "service", "env", "pod"), text) | {f"{n}{text}": text for n in range(100)}
    taken(anomaly_of(labels, {"summary": text}, link=text, name=text, metric=Metric(text, 1.0, unit=text)))


def test_what_is_not_to_be_stored_costs_no_alert() -> None:
    """A number out of range, a time that is none in UTC, an id or link that is no text: the alert is taken without."""
    text = "nul \0, half \ud800"
    odd = alert(
        fingerprint=text, generatorURL=text, values={"A": 1}, status="resolved", endsAt="9999-12-31T23:59:59-14:00"
    )  # fmt: skip
    (found,) = SOURCES["grafana"](body(odd).replace(b'"A": 1', b'"A": 1e999'))
    assert (found.error_type, found.status, found.metric, found.occurred_at) == (
        "KubePodCrashLooping", "resolved", None, None
    )  # fmt: skip
    taken(found)
