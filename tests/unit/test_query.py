"""The words by which an anomaly looks for incidents, and by which an incident is found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words import document_of, essence_of, fault_of, kind_of, pairs, plain, query_of, title_of, words
from schemas import Anomaly, Incident
from schemas.anomaly import Metric
from tests.growth import grows_linearly


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("database_timeout", "database timeout"),
        ("KubePodCrashLooping", "kube pod crash looping"),
        ("HTTPServerErrors", "http server errors"),
        ("disk-full", "disk full"),
        ("db.pool/wait", "db pool wait"),
        ("p99Latency", "p99 latency"),
        ("__", ""),
        ("", ""),
    ],
)
def test_names_become_words(name: str, expected: str) -> None:
    """Snake case, camel case, dashes, dots and slashes part words."""
    assert words(name) == expected


def test_an_anomaly_of_one_field_is_a_query() -> None:
    """Only ``error_type`` is needed."""
    assert query_of(Anomaly(error_type="database_timeout")).text == "database timeout"


def test_a_query_says_what_is_telling() -> None:
    """Error type, spike, message, metric and labels are in the text; the service is a field, not a word of it."""
    query = query_of(
        Anomaly(
            error_type="KafkaLag",
            service="orders",
            spike_percentage=450,
            message="consumer falls behind",
            metric=Metric(name="records_lag_max"),
            labels={"queue": "billing_events"},
        )
    )
    assert query.text == "kafka lag. 450 % above normal. consumer falls behind. records lag max. billing events"
    assert (query.service, query.error_type) == ("orders", "KafkaLag")


@pytest.mark.parametrize("label", ["instance", "pod", "host", "container_id", "uid", "team", "alert_type", "alerttype"])
def test_labels_that_name_a_machine_are_left_out(label: str) -> None:
    """The pod that failed tells nothing about why, nor who is called."""
    assert "7f9c" not in query_of(Anomaly(error_type="oom", labels={label: "api-7f9c"})).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KubePodCrashLooping on node-7", "kube pod crash looping on node 7"),
        ("see db.pool_wait, HTTP 503", "see db pool wait, HTTP 503"),
        ("Pod {{ $labels.pod }} of <value>/<value> is $state", "Pod of / is"),
        ("Disk is full", "Disk is full"),
    ],
)
def test_free_text_keeps_its_words_and_parts_its_identifiers(text: str, expected: str) -> None:
    """Names are parted as everywhere else; what a template left for a value says nothing."""
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("API server down", "api_server server_down"),
        ("No quorum of the etcd members", "quorum_etcd etcd_members"),
        ("disk. Full", "disk_full"),
        ("one", ""),
        ("", ""),
    ],
)
def test_neighbours_are_joined(text: str, expected: str) -> None:
    """Each word with the next one that says anything, whatever stands between them."""
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("title", "expected"), [("KubeletDown: node lost", "kubelet down: node lost"), ("", "oom kill")]
)
def test_a_title_is_told_in_words(title: str, expected: str) -> None:
    """One without a title is called what its error type is."""
    assert title_of(Incident(id="i", title=title, error_type="OomKill")) == expected


def test_an_incident_is_found_by_all_that_it_says() -> None:
    """Its essence is title, error type, symptoms and cause; its words are all of it, with the service."""
    incident = Incident(
        id="i",
        title="Pool empty",
        service="orders-db",
        error_type="db_timeout",
        symptoms="waits",
        root_cause="leak",
        diagnosis="sessions",
        mitigation="restart",
    )
    assert essence_of(incident) == "Pool empty. db timeout. waits. leak"
    assert document_of(incident) == "Pool empty. orders db. db timeout. waits. leak. sessions. restart"


@pytest.mark.parametrize("error_type", ["unknown", "Alert", "ERROR"])
def test_an_error_type_that_names_nothing_is_not_searched(error_type: str) -> None:
    """It neither counts as a word nor equals an incident's."""
    assert query_of(Anomaly(error_type=error_type, message="disk is full")).text == "disk is full"
    assert query_of(Anomaly(error_type=error_type)).text == error_type.lower()
    assert kind_of(error_type) == ""


@given(st.text(max_size=5000), st.dictionaries(st.text(max_size=20), st.text(max_size=900), max_size=5))
def test_texts_are_bounded(text: str, labels: dict[str, str]) -> None:
    """However much a producer writes, the model reads at most 2,000 characters."""
    assert len(query_of(Anomaly(error_type="x", message=text, labels=labels)).text) <= 2000
    assert len(essence_of(Incident(id="i", title="t", symptoms=text))) <= 2000


def test_of_a_field_two_hundred_lines_are_read() -> None:
    """A post-mortem is found by all its words, but a log that somebody pasted into it is not all of the index."""
    told = [document_of(Incident(id="i", title="t", diagnosis="disk full " * times)) for times in (1000, 2000, 3000)]
    assert told[0] != told[1] == told[2]


@pytest.mark.parametrize("unit", ["a", "A", "0", "a1", "Aa", "aA1-", "a_", "_", "{", "{{", "{{a", "<a", "$", "$a"])
def test_no_text_takes_long(unit: str) -> None:
    """Whatever a name or a placeholder begins with."""

    def read(size: int) -> None:
        text = unit * (size // len(unit))
        plain(text)
        words(text)

    assert grows_linearly(read, 25_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pool db-main_2 of p99Latency", "pool db main 2 of p99Latency"),
        ("1aB and x-_y", "1a b and x y"),
        ("{{ $labels.pod }} is down on <host>", "is down on"),
        ("{{{a}}}", "}"),
        ("{{ never closed", "{{ never closed"),
        ("{{ never closed {{ $value }}", "{{ never closed"),
        ("{{ a } b }} c", "c"),
    ],
)
def test_plain_words(text: str, expected: str) -> None:
    """Identifiers are words, and what a template left for a value is gone."""
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("error_type", "service", "expected"),
    [
        ("timeout", "db", "timeout on db"), ("timeout", None, "timeout"), ("timeout", "", "timeout"),
        ("High latency on checkout", "checkout", "High latency on checkout"),
        ("High latency on Checkout", "checkout", "High latency on Checkout"),
        ("depends on db2", "db", "depends on db2 on db"), ("db", "db", "db on db"),
    ],
)  # fmt: skip
def test_a_fault_names_its_service_once(error_type: str, service: str | None, expected: str):
    """Also where an alert's title ends with it."""
    assert fault_of(error_type, service) == expected
