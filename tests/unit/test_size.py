"""What the contracts allow at most fits into one record of a Kafka as it comes: 1 MB, with key and headers."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from pipeline import settings
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration, trust
from pipeline.index import Found, _known, _payload
from pipeline.kafka import Headers, Message
from pipeline.nearest import advise
from pipeline.qdrant import Point
from pipeline.stages import enrich, ingest
from pipeline.stages.decide import compose
from pipeline.stages.fingerprints import digest
from schemas import Action, EnrichedAnomaly, Evidence, Incident, Signals

LIMIT = 1_000_000
"""The least of producers' and brokers' defaults, librdkafka's, which counts no batch."""
WORST = "\x01"
"""Six bytes in JSON, and the longest of all characters there."""
SETTINGS = settings.read({})


def size(key: bytes, value: bytes, headers: Headers) -> int:
    return len(key) + len(value) + sum(len(name) + len(text or b"") + 10 for name, text in headers) + 100


def largest_action() -> dict[str, Any]:
    return {
        "name": WORST * 100,
        "target": WORST * 256,
        "parameters": {f"{number:02}".ljust(100, WORST): WORST * 1000 for number in range(16)},
    }


def largest_evidence(place: int) -> Evidence:
    """As the index makes it of an incident that is as large as may be."""
    name = str(place).ljust(256, WORST)
    body = {"id": name, "title": WORST * 1024, "root_cause": WORST * 100_000, "action": largest_action()}
    incident = msgspec.json.decode(msgspec.json.encode(body), type=Incident)
    return _known(Point(1, [1.0], [1.0], ([], []), _payload(incident, 1))).evidence


def largest_anomaly() -> Message:
    body = {
        "error_type": "e".ljust(256, WORST), "id": "i".ljust(256, WORST), "fingerprint": "f".ljust(256, WORST),
        "service": "s".ljust(256, WORST), "spike_percentage": -1.7976931348623157e308, "labels": {"": ""},
    }  # fmt: skip
    room = SETTINGS.max_event_bytes - len(msgspec.json.encode(body))
    value = msgspec.json.encode(body | {"labels": {"": "x" * room}})
    assert len(value) == SETTINGS.max_event_bytes
    return Message("anomalies", 0, 0, None, value, [("traceparent", b"x" * 900_000)], 0)


class Sent:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes, Headers]] = []

    async def send(self, _: str, key: bytes, value: bytes, headers: Headers) -> None:
        self.records.append((key, value, headers))


async def test_the_largest_anomaly_with_the_largest_evidence_fits():
    """So does the decision on it; none of both is a dead letter for its size, whatever the incidents say."""
    message = largest_anomaly()
    anomaly = ingest.decode(message, SETTINGS.max_event_bytes)
    found = Found([largest_evidence(place) for place in range(5)], Signals())
    enriched = EnrichedAnomaly(
        anomaly=anomaly, anomaly_id=anomaly.id or "", fingerprint=anomaly.fingerprint or "",
        episode_id="ep_" + digest("x"), revision=10**9, situation_id="sit_" + digest("x"), evidence=found.evidence,
        signals=found.signals, received_at=datetime.now(UTC), timings={"record": 1e9 / 3, "search": 1e9 / 3},
    )  # fmt: skip
    sent = Sent()
    await enrich.publish(sent, "anomalies.enriched", enriched, message)  # type: ignore[arg-type]
    assert 800_000 < size(*sent.records[0]) < LIMIT
    catalogue = load_catalogue(SETTINGS.actions_file)
    advice = advise(anomaly, found.evidence, trust(found.signals, load_calibration(None)), catalogue, 0.5)
    decision = compose("dec_x", enriched, advice, catalogue, 1, 1.0, datetime.now(UTC), shadow=False)
    assert 500_000 < size(enriched.fingerprint.encode(), msgspec.json.encode(decision), []) < LIMIT


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "x" * 101}, {"target": "x" * 257}, {"parameters": {"reason": "x" * 1001}},
        {"parameters": {"x" * 101: 1}}, {"parameters": {str(number): 1 for number in range(17)}},
    ],
)  # fmt: skip
def test_a_larger_action_is_none(changes: dict[str, Any]):
    """Each text of an action has a longest, and they have a greatest number; the longest itself is allowed."""
    assert msgspec.convert(largest_action(), Action).target == WORST * 256
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "restart", "target": "api"} | changes, Action)


@pytest.mark.parametrize(("length", "kept"), [(55, True), (512, True), (513, False)])
async def test_a_trace_goes_on_unless_it_is_none(length: int, kept: bool):
    message = Message("anomalies", 0, 0, None, b"{}", [("traceparent", b"x" * length)], 0)
    headers = dict(enrich.event_headers("anomaly.enriched", "dec_1", message))
    assert ("traceparent" in headers) is kept
