"""What is an anomaly, what is not, and which two are the same fault."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Rejected
from pipeline.kafka import Headers, Message
from pipeline.stages import ingest
from pipeline.stages.episodes import episode_id
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.situations import situation_id
from schemas import Anomaly

LIMIT = 262_144


def message(value: bytes | None, headers: Headers | None = None, offset: int = 0) -> Message:
    return Message("anomalies", 0, offset, None, value, headers or [], 1_700_000_000_000)


_EVENT = b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"error_type": "a"}}'

BAD = {
    "tombstone": None,
    "empty": b"",
    "spaces": b"   ",
    "not json": b"hello",
    "cut off": b'{"error_type": ',
    "two documents": b'{"error_type": "a"} {"error_type": "b"}',
    "list": b'[{"error_type": "a"}]',
    "null": b"null",
    "number": b"450",
    "string": b'"database_timeout"',
    "no error_type": b'{"service": "a"}',
    "null error_type": b'{"error_type": null}',
    "empty error_type": b'{"error_type": ""}',
    "error_type is a number": b'{"error_type": 5}',
    "error_type is a list": b'{"error_type": ["a"]}',
    "error_type too long": json.dumps({"error_type": "x" * 257}).encode(),
    "spike is text": b'{"error_type": "a", "spike_percentage": "450"}',
    "spike is true": b'{"error_type": "a", "spike_percentage": true}',
    "NaN": b'{"error_type": "a", "spike_percentage": NaN}',
    "Infinity": b'{"error_type": "a", "spike_percentage": -Infinity}',
    "infinite by size": b'{"error_type": "a", "spike_percentage": 1e999}',
    "metric infinite by size": b'{"error_type": "a", "metric": {"value": -1e999}}',
    "metric is a list": b'{"error_type": "a", "metric": []}',
    "severity unknown": b'{"error_type": "a", "severity": "apocalyptic"}',
    "status unknown": b'{"error_type": "a", "status": "maybe"}',
    "labels not strings": b'{"error_type": "a", "labels": {"n": 1}}',
    "labels a list": b'{"error_type": "a", "labels": ["n"]}',
    "time without zone": b'{"error_type": "a", "occurred_at": "2026-01-01T00:00:00"}',
    "time after the calendar in UTC": b'{"error_type": "a", "occurred_at": "9999-12-31T23:59:59-14:00"}',
    "time nonsense": b'{"error_type": "a", "occurred_at": "yesterday"}',
    "NUL in a string": b'{"error_type": "a\\u0000b"}',
    "NUL in a label": b'{"error_type": "a", "labels": {"k": "\\u0000"}}',
    "lone surrogate": b'{"error_type": "a\\ud800"}',
    "invalid UTF-8": b'{"error_type": "a\xff"}',
    "overlong UTF-8": b'{"error_type": "\xc0\xaf"}',
    "UTF-16": '{"error_type": "a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"error_type": "a"}',
    "single quotes": b"{'error_type': 'a'}",
    "trailing comma": b'{"error_type": "a",}',
    "comment": b'{"error_type": "a" /* b */}',
    "five megabytes": b'{"error_type": "a", "message": "' + b"x" * 5_000_000 + b'"}',
    "nested 10,000 deep": b'{"error_type": "a", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "unclosed 10,000 deep": b"[" * 10_000,
    "binary": bytes(range(256)),
    "avro magic": b"\x00\x00\x00\x00\x01\x02",
    "CloudEvent with bad data": b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {"x": 1}}',
    "CloudEvent with NUL in its id": _EVENT.replace(b'"1"', b'"\\u0000"'),
    "CloudEvent with NUL in its data": _EVENT.replace(b'"a"', b'"\\u0000"'),
    "CloudEvent with a number as id": b'{"specversion": "1.0", "id": 1, "source": "s", "type": "t", "data": {}}',
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD.keys())
def test_bad_input_is_rejected_with_a_reason(value: bytes | None):
    """Whatever is wrong with the bytes, the answer is a Rejected that says what."""
    with pytest.raises(Rejected) as caught:
        ingest.decode(message(value), LIMIT)
    assert len(caught.value.reason) > 5


@pytest.mark.parametrize(
    ("field", "words"), [("severity", "info, warning, error, critical"), ("status", "firing, resolved")]
)
def test_a_word_that_is_none_of_a_few_is_told_which_there_are(field: str, words: str):
    """Other systems have others: high, P1, page."""
    body = json.dumps({"error_type": "a", field: "high"}).encode()
    with pytest.raises(Rejected, match=rf"'high' - at `\$\.{field}`, which is one of {words}$"):
        ingest.decode(message(body), LIMIT)


def test_what_else_is_wrong_is_told_as_it_is():
    with pytest.raises(Rejected, match=r"^not an anomaly: Expected `str`, got `int` - at `\$\.error_type`$"):
        ingest.decode(message(b'{"error_type": 5}'), LIMIT)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_an_anomaly_or_rejected(value: bytes):
    """No bytes raise anything but Rejected."""
    try:
        anomaly = ingest.decode(message(value), LIMIT)
    except Rejected:
        return
    assert anomaly.error_type


def test_the_seed_event_is_a_whole_anomaly():
    anomaly = ingest.decode(message(b'{"error_type": "database_timeout", "spike_percentage": 450}'), LIMIT)
    assert anomaly == Anomaly(error_type="database_timeout", spike_percentage=450.0)


def test_unknown_fields_and_deep_but_sane_nesting_are_ignored():
    value = b'{"error_type": "a", "x": {"y": [[[[{"z": "{[{["}]]]]}, "message": "[[[[{{{{"}'
    assert ingest.decode(message(value), LIMIT).message == "[[[[{{{{"


BRACKETS = "[{" * 300
TALKATIVE = {
    "brackets in a text": BRACKETS,
    "a stack trace that is cut": r"File \"C:\\a\", [{" + BRACKETS,
    "quoted JSON": json.dumps({"a": [[[BRACKETS]]]}),
    "a text that ends with a backslash": BRACKETS + "\\",
}


@pytest.mark.parametrize("name", TALKATIVE)
def test_what_a_text_says_is_no_nesting(name: str):
    """However many brackets, quotes and backslashes it holds, and whatever comes after it."""
    told = {"error_type": "a", "message": TALKATIVE[name], "x": [[{"y": BRACKETS}]]}
    assert ingest.decode(message(json.dumps(told).encode()), LIMIT).message == TALKATIVE[name]


def test_nesting_is_counted_and_brackets_are_not():
    """A thousand small things beside each other are as deep as one; what is a hundred deep is taken, and no deeper."""
    beside = b'{"error_type": "a", "x": [' + b",".join([b'{"y": ["z"]}'] * 1000) + b"]}"
    assert ingest.decode(message(beside), LIMIT).error_type == "a"
    for opened, closed in ((b"[", b"]"), (b'{"y":', b"}")):
        before = rb'{"error_type": "\"", "s": [[], {}], "x": '  # what was closed, and an escape, count for nothing
        deep = [before + opened * n + b"1" + closed * n + b"}" for n in (99, 100)]
        assert ingest.decode(message(deep[0]), LIMIT).error_type == '"'
        with pytest.raises(Rejected, match="nested deeper than 100"):
            ingest.decode(message(deep[1]), LIMIT)


def test_a_cloud_event_in_structured_mode_gives_its_data_and_its_id():
    value = b'{"specversion": "1.0", "id": "7", "source": "/mon", "type": "t", "data": {"error_type": "a"}}'
    assert ingest.decode(message(value), LIMIT) == Anomaly(error_type="a", id="/mon#7")


def test_a_cloud_event_in_binary_mode_gives_its_id_and_the_body_wins():
    headers = [("ce_id", b"7"), ("ce_source", b"/mon")]
    assert ingest.decode(message(b'{"error_type": "a"}', headers), LIMIT).id == "/mon#7"
    assert ingest.decode(message(b'{"error_type": "a", "id": "own"}', headers), LIMIT).id == "own"


def test_an_id_in_headers_is_text_that_postgres_takes():
    with pytest.raises(Rejected, match="NUL"):
        ingest.decode(message(b'{"error_type": "a"}', [("ce_id", b"7\x00"), ("ce_source", b"/mon")]), LIMIT)


def test_two_cloud_events_have_two_ids_however_long_their_source_is():
    """An id that is cut would be that of all its source's events, and all but the first would count for repeats."""
    source = "https://monitoring.example.com/" + "x" * 300
    found = {
        ingest.decode(message(_EVENT.replace(b'"s"', f'"{source}"'.encode()).replace(b'"1"', name)), LIMIT).id
        for name in (b'"1"', b'"2"')
    }
    for name in (b"1", b"2", b"\xfe", b"\xff"):
        headers = [("ce_id", name), ("ce_source", source.encode())]
        found.add(ingest.decode(message(b'{"error_type": "a"}', headers), LIMIT).id)
    assert len(found) == 4  # those of 1 and 2 are the same in both modes
    assert all(len(name or "") <= 256 for name in found)


def test_an_id_comes_from_the_place_in_kafka_and_from_nothing_else():
    """Redelivery gives the same id; another offset or another life of the topic gives another."""
    anomaly = Anomaly(error_type="a")
    one = ingest.identify(anomaly, message(b"", offset=3), "topic-1")
    assert one == ingest.identify(anomaly, message(b"{}", offset=3), "topic-1")
    assert one != ingest.identify(anomaly, message(b"", offset=4), "topic-1")
    assert one != ingest.identify(anomaly, message(b"", offset=3), "topic-2")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("1969-12-31T23:59:59-01:00", None),
        ("1970-01-21T10:00:00Z", None),
        ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_time_that_nobody_set_is_not_said(said: str, kept: datetime | None):
    """So two reminders of a fault that only have a zero time in common are two anomalies."""
    value = f'{{"error_type": "a", "fingerprint": "f", "occurred_at": "{said}"}}'.encode()
    anomaly = ingest.decode(message(value), LIMIT)
    assert anomaly.occurred_at == kept
    ids = {ingest.identify(anomaly, message(value, offset=offset), "topic") for offset in range(2)}
    assert len(ids) == (2 if kept is None else 1)


NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("milliseconds", "received"),
    [
        (-1, NOW),
        (0, NOW),
        (1_790_000_000, NOW),
        (1_790_000_000_000_000, NOW),
        (2**63 - 1, NOW),
        (-(2**63), NOW),
        (1_793_491_200_000 + 86_400_001, NOW),
        (1_793_491_200_000 + 86_400_000, NOW + timedelta(days=1)),
        (1_793_491_200_000 - 7 * 86_400_000, NOW - timedelta(days=7)),
    ],
)
def test_a_record_that_shows_no_time_came_now(milliseconds: int, received: datetime):
    """None, seconds, microseconds, or farther ahead of us than a clock may be; a backlog keeps its times."""
    assert ingest.received_at(Message("anomalies", 0, 0, None, b"", [], milliseconds), NOW) == received


SAME = [
    ({}, {"message": "other", "spike_percentage": 3.0, "severity": "critical", "id": "x"}),
    ({"labels": {"instance": "a"}}, {"labels": {"instance": "b"}}),
    ({"service": "s"}, {"service": " s "}),
]
DIFFERENT = [
    ({"service": "ab", "environment": "c"}, {"service": "a", "environment": "bc"}),
    ({"service": "x"}, {"environment": "x"}),
    ({"labels": {"cluster": "a"}}, {"labels": {"cluster": "b"}}),
    ({"labels": {"cluster": "a"}}, {"labels": {"namespace": "a"}}),
    ({}, {"service": "s"}),
    ({}, {"error_type": "f"}),
    ({"service": "s"}, {"error_type": "s", "service": "e"}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_fault_has_one_fingerprint(one: dict, other: dict):
    first, second = (Fingerprints().of(Anomaly(error_type="e", **fields)) for fields in (one, other))
    assert first == second


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_faults_have_different_fingerprints(one: dict, other: dict):
    """Also where joined values would be equal."""
    first, second = (Fingerprints().of(Anomaly(**{"error_type": "e"} | fields)) for fields in (one, other))
    assert first != second


def test_what_is_delivered_again_after_an_upgrade_is_known():
    """Ids derive from the input alone, in every release in the same way: another id would be decided a second time."""
    plain = Anomaly(error_type="timeout", service="db", environment="prod", labels={"cluster": "c1", "pod": "x"})
    named = Anomaly(error_type="timeout", fingerprint="f", source="alertmanager", occurred_at=NOW)
    assert [Fingerprints().of(anomaly) for anomaly in (plain, named)] == [
        "fp_7857ba2e9d5ccc44f5c88efa", "fp_28ebb62259405d517dcef65e",
    ]  # fmt: skip
    assert [ingest.identify(anomaly, message(b"", offset=42), "AaIXft8UdNKx/0FA") for anomaly in (plain, named)] == [
        "anm_2b37432c512fce285fcb93f0", "anm_6ee2ccbc80871c7dca801185",
    ]  # fmt: skip
    assert (episode_id("fp_1", "anm_1", NOW), situation_id("ep_1"), ingest.decision_id("ep_1", 2)) == (
        "ep_b9446b89c7600c4687c2", "sit_6d1dbb0cf8e72d8bba32", "dec_c3af79d9ddedf6a9cf216c3a",
    )  # fmt: skip
