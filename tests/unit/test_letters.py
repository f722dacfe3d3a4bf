"""Dead letters: chosen, shown, and published again with the identity they had."""

import weakref
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest

from pipeline.errors import Rejected, Unavailable
from pipeline.kafka import Headers, Message
from pipeline.letters import Wanted, about, chosen, lines, named, newest, place, publish_again
from pipeline.stages.ingest import identify
from pipeline.stages.publish import bury
from schemas import Anomaly


class Topic:
    """Where a sender's records land, each one offset after the other."""

    def __init__(self) -> None:
        self.records: list[Message] = []

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        self.records.append(Message(topic, 1, len(self.records), key, value, headers or [], 1_000_000))


class Letter(Message, weakref=True, gc=True):
    """One that can be watched."""

    def __hash__(self) -> int:
        return id(self)


class Narrow(Topic):
    """One that takes no more than Kafka does where nothing is set, or than is said."""

    def __init__(self, takes: int = 1_000_000) -> None:
        super().__init__()
        self._takes = takes

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> None:
        beside = sum(len(name) + len(said or b"") + 4 for name, said in headers or [])
        if len(key or b"") + len(value or b"") + beside > self._takes:
            raise Rejected("Kafka refuses the record: too large")
        await super().send(topic, key, value, headers)


ANOMALY = Anomaly(error_type="x")
FIRST = Message("anomalies", 3, 42, b"k", b"{}", [("traceparent", b"00-1"), ("pulseguard_reason", b"forged")], 1)


async def buried(message: Message, reason: str = "bug", text: str = "why", topic_id: str | None = "tid") -> Message:
    grave = Topic()
    await bury(grave, "dlq", message, reason, text, topic_id)  # type: ignore[arg-type]
    return grave.records[0]


@pytest.mark.parametrize("topic_id", ["tid", "AaIXft8UdNKxqFmkWY/0FA", "4O4NKLi+I3UnX3EHQ18ttg"])
async def test_an_anomaly_keeps_its_id_however_often_it_is_tried_again(topic_id: str):
    """Buried, published again, buried again and published again: always the id of where it first lay."""
    message = FIRST
    for _ in range(3):
        topic = Topic()
        await publish_again([await buried(message, topic_id=topic_id)], topic)  # type: ignore[arg-type]
        message = topic.records[0]
        assert (message.topic, message.key, message.value) == ("anomalies", b"k", b"{}")
        assert identify(ANOMALY, message, topic_id) == identify(ANOMALY, FIRST, topic_id)
        assert dict(message.headers)["traceparent"] == b"00-1"
        assert sum(name == "pulseguard_origin" for name, _ in message.headers) == 1
    assert identify(ANOMALY, message, "another topic") == identify(ANOMALY, FIRST, topic_id)


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * 2_000_000, b"v", []),
        (b"k", b"v" * 2_000_000, [("a", b"1")]),
        (b"k", b"v", [("big", b"h" * 2_000_000), ("traceparent", b"00-1"), ("none", None)]),
        (None, None, [("n", b"")] * 300_000),
    ],
)
async def test_what_kafka_refuses_as_too_large_is_buried_cut(key: bytes | None, value: bytes | None, headers: Headers):
    """Whatever of the record it is that is too large; a record without a value stays one."""
    narrow = Narrow()
    await bury(narrow, "dlq", Message("anomalies", 3, 42, key, value, headers, 1), "rejected", "why", "tid")  # type: ignore[arg-type]
    (letter,) = narrow.records
    said = dict(letter.headers)
    assert (said["pulseguard_truncated"], said["pulseguard_reason"]) == (b"true", b"rejected")
    assert (key or b"").startswith(letter.key or b"")
    assert (value or b"").startswith(letter.value or b"")
    assert (letter.value is None) is (value is None)
    assert "traceparent" in said or ("traceparent", b"00-1") not in headers
    assert about(letter)["reason"] == "rejected"


@pytest.mark.parametrize("takes", [700_000, 600_000, 100_000, 10_000, 4_000])
async def test_a_topic_of_dead_letters_may_take_little(takes: int):
    """However little it is, the worker goes on: where the record came from and why are told in any case."""
    grave = Narrow(takes)
    headers: Headers = [("big", b"h" * 40_000), ("traceparent", b"00-1")]
    message = Message("anomalies", 3, 42, b"k" * 50_000, b"v" * 900_000, headers, 1)
    await bury(grave, "dlq", message, "bug", "w" * 5_000, "tid")  # type: ignore[arg-type]
    (letter,) = grave.records
    said = dict(letter.headers)
    assert (said["pulseguard_truncated"], said["traceparent"]) == (b"true", b"00-1")
    assert (about(letter)["topic"], about(letter)["offset"]) == ("anomalies", "42")
    assert letter.value
    assert letter.value + b"v" * (900_000 - len(letter.value)) == b"v" * 900_000


async def test_a_topic_that_takes_no_dead_letter_at_all_is_waited_for():
    """It is an outage that somebody can mend: a worker that ended of it would meet the same record again."""
    with pytest.raises(Unavailable, match=r"dlq takes no dead letter, however small: .*too large"):
        await bury(Narrow(10), "dlq", FIRST, "bug", "why", "tid")  # type: ignore[arg-type]


def test_a_topic_made_anew_repeats_no_id():
    """The same place at another time is another anomaly, also for a worker that knows the old topic's id."""
    assert identify(ANOMALY, FIRST, "tid") != identify(ANOMALY, msgspec.structs.replace(FIRST, timestamp=2), "tid")


@pytest.mark.parametrize(
    "origin",
    [b"", b"tid/1/2", b"tid/x/1/1", b"a b/1/2/3", b"t/1/" + b"9" * 30 + b"/1", b"\xff/1/2/3", b"t/-1/2/3",
     b"9" * 2_000_000],
)  # fmt: skip
async def test_an_origin_that_is_none_is_not_believed(origin: bytes):
    """What is not of the form is as if it were not there, however large, and so is it to a dead letter."""
    forged = Message("anomalies", 3, 42, None, b"{}", [("pulseguard_origin", origin)], 1)
    assert identify(ANOMALY, forged, "tid") == identify(ANOMALY, FIRST, "tid")
    grave = Narrow()
    await bury(grave, "dlq", forged, "bug", "why", "tid")  # type: ignore[arg-type]
    assert identify(ANOMALY, grave.records[0], "other") == identify(ANOMALY, FIRST, "tid")


@pytest.mark.parametrize("headers", [[], [("pulseguard_topic", b"")], [("pulseguard_topic", None)]])
async def test_what_does_not_say_where_it_came_from_is_published_nowhere(headers: Headers):
    """Nor is anything beside it: there is no topic of that name, and some Kafkas would make one."""
    topic = Topic()
    foreign = Message("dlq", 2, 5, None, b"{}", headers, 1)
    with pytest.raises(Rejected, match="2@5"):
        await publish_again([await buried(FIRST), foreign], topic)  # type: ignore[arg-type]
    assert topic.records == []


async def test_an_id_of_its_own_stays():
    letter = await buried(FIRST)
    assert identify(Anomaly(error_type="x", id="mine"), letter, "tid") == "mine"


async def test_letters_are_chosen_by_reason_topic_time_and_text():
    """Each filter alone, and the newest of many."""
    one = await buried(FIRST, "bug", "ZeroDivisionError")
    two = await buried(Message("feedback", 0, 1, None, b"\xff\x00", [], 1), "rejected", "not JSON", None)
    both = [one, two]
    assert list(chosen(both, Wanted())) == both
    assert list(chosen(both, Wanted(reason="bug"))) == [one]
    assert list(chosen(both, Wanted(topic="feedback"))) == [two]
    assert list(chosen(both, Wanted(text="Zero"))) == [one]
    assert list(chosen(both, Wanted(text="{}"))) == [one]
    assert list(chosen(both, Wanted(text="\udcff"))) == [two]
    assert list(chosen(both, Wanted(since=datetime(1970, 1, 1, 0, 10, tzinfo=UTC)))) == both
    assert list(chosen(both, Wanted(since=datetime(1970, 1, 1, 1, tzinfo=UTC)))) == []
    rows = [msgspec.json.decode(line) for line in lines(both)]
    assert (rows[0]["value"], rows[1]["value_base64"]) == ("{}", "/wA=")
    assert about(one)["reason"] == "bug"  # ours, not what the producer forged
    assert named(both, ["1@0"]) == [one]
    with pytest.raises(Rejected, match="no dead letter 9@9"):
        named(both, ["1@0", "9@9"])


def test_of_more_letters_than_memory_holds_the_newest_are_kept():
    """They come partition by partition, and no more than asked for are held; whoever names one reads no further."""
    held = weakref.WeakSet[Letter]()

    def topic() -> Iterator[Message]:
        for partition in range(3):
            for offset in range(1000):
                letter = Letter("dlq", partition, offset, None, b"{}", [], 10 * offset + partition)
                held.add(letter)
                assert len(held) < 20
                yield letter

    assert [place(letter) for letter in newest(topic(), 4)] == ["2@998", "0@999", "1@999", "2@999"]
    assert sum(len(line) for line in lines(topic())) > 3000
    burst = (Letter("dlq", 0, offset, None, b"{}", [], 5) for offset in range(1000))
    assert [place(letter) for letter in newest(burst, 2)] == ["0@998", "0@999"]
    begun = topic()
    assert [letter.offset for letter in named(begun, ["0@7", "0@3", "0@7"])] == [7, 3, 7]
    assert next(begun).offset == 8
