"""A batch of anomalies is counted in its turn, then asks for its decisions: the stage on a record that is played."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pipeline.errors import Unavailable
from pipeline.index import Found
from pipeline.kafka import Headers, Message
from pipeline.settings import Settings
from pipeline.settle import Rejection, Turn
from pipeline.stages.count import Grouping, Opening
from pipeline.stages.enrich import enrich
from pipeline.stages.episodes import Arrival
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.ingest import decision_id
from schemas import Anomaly, EnrichedAnomaly, Evidence, Signals

FOUND = Found([Evidence("inc-1", "pool exhausted", 0.8)], Signals(lead=0.5))


class Played:
    """The record, the search and Kafka at once. The anomalies named in ``opens`` ask for a decision."""

    def __init__(self, *opens: str) -> None:
        self.opens = opens
        self.counted: list[Arrival] = []
        self.asked: list[tuple[bytes | None, EnrichedAnomaly, dict[str, bytes]]] = []
        self.away = ""

    async def record_arrivals(self, arrivals: Sequence[Arrival], _: Grouping) -> list[Opening]:
        if self.away == "postgres":
            raise Unavailable("postgres", "gone")
        self.counted += arrivals
        names = [arrival.anomaly_id for arrival in arrivals]
        return [Opening(name, f"ep-{name}", 2, 5, f"sit-{name}") for name in self.opens if name in names]

    async def of(self, asked: Sequence[tuple[Opening, Anomaly]]) -> list[Found]:
        return [FOUND for _ in asked]

    async def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> None:
        if self.away == topic:
            raise Unavailable("kafka", "gone")
        self.asked.append((key, msgspec.json.decode(value, type=EnrichedAnomaly), dict(headers)))


def record(number: int, value: bytes | None) -> Message:
    return Message("anomalies", 0, number, None, value, [("traceparent", b"00-%d" % number)], 1_790_000_000_000)


def told(name: str) -> bytes:
    return b'{"error_type": "timeout", "service": "db", "id": "%s"}' % name.encode()


async def enriched(played: Any, messages: Sequence[Message], passed: asyncio.Event | None = None) -> list[Rejection]:
    before = asyncio.Event()
    before.set()
    return await enrich(
        messages, turn=Turn(before, passed or asyncio.Event(), len(messages)), settings=Settings(), topic_id="tid",
        record=played, lookup=played, sender=played, grouping=Grouping(), fingerprints=Fingerprints(),
    )  # fmt: skip


async def test_all_are_counted_and_who_opens_asks():
    """With what was found, its episode's revision, and the trace of its record; one that comes twice is one."""
    played = Played("b")
    assert await enriched(played, [record(n, told(name)) for n, name in enumerate("abcb")]) == []
    assert [(arrival.anomaly_id, arrival.offset) for arrival in played.counted] == [("a", 0), ("b", 1), ("c", 2)]
    ((key, asked, headers),) = played.asked
    assert key == asked.fingerprint.encode() == Fingerprints().of(asked.anomaly).encode()
    assert (asked.anomaly_id, asked.episode_id, asked.revision, asked.situation_id) == ("b", "ep-b", 2, "sit-b")
    assert (asked.evidence, asked.signals, set(asked.timings)) == (FOUND.evidence, FOUND.signals, {"record", "search"})
    assert asked.received_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert (headers["ce_id"], headers["traceparent"]) == (decision_id("ep-b", 2).encode(), b"00-1")


async def test_what_cannot_be_read_costs_no_other():
    """It is rejected with its reason, and the others are counted."""
    bad, played = record(1, b"{"), Played()
    ((message, reason),) = await enriched(played, [record(0, told("a")), bad, record(2, told("b"))])
    assert (message, reason[:8]) == (bad, "not JSON")
    assert [arrival.anomaly_id for arrival in played.counted] == ["a", "b"]
    assert played.asked == []


@pytest.mark.parametrize(("away", "counted"), [("postgres", 0), ("anomalies.enriched", 1)])
async def test_what_is_not_counted_or_not_asked_is_not_done(away: str, counted: int):
    """An outage is told, so that the batch is tried again; its turn is over once it is counted, and no sooner."""
    played, passed = Played("a"), asyncio.Event()
    played.away = away
    with pytest.raises(Unavailable):
        await enriched(played, [record(0, told("a"))], passed)
    assert (len(played.counted), passed.is_set(), played.asked) == (counted, bool(counted), [])
