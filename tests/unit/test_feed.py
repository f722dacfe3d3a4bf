"""The feed: what a returning client gets, whole or not at all."""

import base64
import json
from typing import Any

import msgspec
import pytest

from pipeline.errors import Rejected
from pipeline.sinks import feed as module
from pipeline.sinks.feed import Feed, Filter, Hello, envelope, hello_of
from pipeline.sinks.relay import LONGEST_HELLO

HERE, THERE = ("decisions", 0), ("decisions", 1)


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"id": name, **data}


def filled(count: int) -> Feed:
    feed = Feed("epoch")
    for offset in range(count):
        assert feed.add(HERE, offset, "decision", event(f"d{offset}"))
    return feed


def ids(events: list[Any] | None) -> list[str] | None:
    return None if events is None else [json.loads(item.frame)["data"]["id"] for item in events]


def test_a_cursor_names_the_epoch_and_the_next_offsets():
    raw = filled(3).cursor()
    assert msgspec.msgpack.decode(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))) == {
        "e": "epoch", "o": {"decisions": {0: 3}}
    }  # fmt: skip


@pytest.mark.parametrize(("partitions", "limit"), [(250, 5000), (700, LONGEST_HELLO - 1000)])
def test_a_cursor_of_many_partitions_fits_into_what_a_client_shows_it_in(partitions: int, limit: int):
    """A URL, of which servers take some 8,000 characters, and a hello."""
    feed = Feed("+".join(["i" * 22, "j" * 22]))
    for topic in ("decisions", "anomalies.enriched"):
        for partition in range(partitions):
            assert feed.skip((topic, partition), 2_000_000_000)
    assert len(feed.cursor()) < limit


def test_every_event_carries_the_cursor_that_continues_after_it():
    """From any event's cursor the rest follows, without gap or repeat."""
    feed = filled(5)
    feed.add(THERE, 0, "decision", event("other"))
    everything = feed.after(0)
    assert everything is not None
    for place, item in enumerate(everything):
        assert feed.since(item.cursor) == everything[place + 1 :]
        assert json.loads(item.frame)["cursor"] == item.cursor


@pytest.mark.parametrize("cursor", ["nonsense", "", "é", "e30", "W10", Feed("other").cursor(), "W" * 3000])
def test_a_cursor_that_is_not_of_this_feed_recovers_nothing(cursor: str):
    assert filled(2).since(cursor) is None


def test_a_cursor_ahead_or_of_an_unseen_partition_recovers_nothing():
    """A relay that has not read that far cannot know what the client missed."""
    assert filled(2).since(filled(3).cursor()) is None
    assert Feed("epoch").since(filled(3).cursor()) is None


def test_what_left_the_ring_is_never_replayed_in_part(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RING_EVENTS", 3)
    feed = filled(5)
    assert feed.since(filled(1).cursor()) is None
    assert ids(feed.since(filled(2).cursor())) == ["d2", "d3", "d4"]
    assert feed.after(1) is None
    assert ids(feed.after(2)) == ["d2", "d3", "d4"]


def test_the_ring_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RING_BYTES", 1000)
    feed = Feed("epoch")
    for offset in range(10):
        feed.add(HERE, offset, "decision", event(f"d{offset}", text="x" * 300))
    assert feed.after(feed.last - 5) is None
    assert feed.after(feed.last - 2)


def test_a_repeated_id_and_a_repeated_offset_are_shown_once():
    feed = filled(2)
    assert feed.add(HERE, 1, "decision", event("new")) is None
    assert feed.add(HERE, 2, "decision", event("d0")) is None
    assert ids(feed.after(0)) == ["d0", "d1"]


def test_records_without_an_id_are_all_shown():
    feed = Feed("epoch")
    assert feed.add(HERE, 0, "decision", {})
    assert feed.add(HERE, 1, "decision", {"anomaly": None})
    assert feed.add(HERE, 2, "anomaly", {"anomaly": [1], "id": 5})


def test_a_skipped_record_makes_no_gap():
    feed = Feed("epoch")
    assert feed.skip(HERE, 0)
    start = feed.cursor()
    feed.add(HERE, 1, "decision", event("d1"))
    assert ids(feed.since(start)) == ["d1"]


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(), True),
        (Filter(types=frozenset({"anomaly"})), False),
        (Filter(service="pay"), True),
        (Filter(service="other"), False),
        (Filter(min_severity="error"), True),
        (Filter(min_severity="critical"), False),
    ],
)
def test_filters(wanted: Filter, passes: bool):
    item = Feed("e").add(HERE, 0, "decision", event("d", service="pay", severity="error"))
    assert item is not None
    assert wanted.wants(item) is passes


def test_a_query_is_a_hello_without_its_token():
    query = {"types": ["decision,anomaly"], "batch": ["1"], "token": ["secret"], "since": ["c"]}
    assert hello_of(query) == Hello(since="c", types=["decision", "anomaly"], batch=True)
    assert Hello(token="t", service="s").over(hello_of(query)).since == "c"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"min_severity": ["fatal"]}, "min_severity: 'fatal' is none of info, warning, error, critical"),
        ({"types": ["decision,foo"]}, "types: 'foo' is none of decision, anomaly, system"),
        ({"types": ["foo", "decision"]}, "types: 'foo' is none of decision, anomaly, system"),
        ({"batch": ["x"]}, "batch: 'x' is neither 0 nor 1"),
        ({"types": ["é" * 500]}, "types"),
    ],
)
def test_what_nothing_could_ever_pass_is_refused_with_a_reason_that_fits_a_close_frame(
    query: dict[str, list[str]], reason: str
):
    with pytest.raises(Rejected) as caught:
        hello_of(query).filter()
    assert reason in caught.value.reason
    assert len(caught.value.reason.encode()) <= 123


def test_an_envelope_is_json_and_ends_at_its_last_event():
    events = filled(3).after(0)
    assert events is not None
    message = json.loads(envelope(events))
    assert [item["data"]["id"] for item in message["events"]] == ["d0", "d1", "d2"]
    assert message["cursor"] == events[-1].cursor
