"""One decision for one revision, written down before it is published: the stage on a record that is played."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pipeline.catalogue import load_catalogue
from pipeline.confidence import Calibration, Logistic
from pipeline.errors import Rejected, Unavailable
from pipeline.kafka import Headers, Message
from pipeline.settings import Settings
from pipeline.stages.decide import Books, decide
from pipeline.stages.ingest import decision_id
from pipeline.stages.record import Background
from pipeline.stages.save import Made
from schemas import Action, Decision, EnrichedAnomaly, Evidence, Signals, TrackRecord
from tests.program import ROOT
from tests.unit.test_prompt import asked

SURE = Logistic(-2.0, {"lead": 4.0})
CALIBRATION = Calibration("test", SURE, SURE)
CATALOGUE = load_catalogue(ROOT / "deploy" / "actions.yaml")
TRACK = TrackRecord(times=3, worked=2, failed=1)


@dataclass
class Played:
    """The record and Kafka at once; ``did`` is what was done to them, in order."""

    body: bytes | None = None
    occurrences: int = 7
    first: bytes | None = None
    full: bool = False

    def __post_init__(self) -> None:
        self.did: list[tuple[str, Any]] = []
        self.made: list[Made] = []
        self.headers: Headers = []

    async def decision_bodies(self, ids: Sequence[str]) -> list[bytes | None]:
        return [self.body for _ in ids]

    async def backgrounds(self, about: Sequence[tuple[str, str]]) -> list[Background]:
        self.did += [("asked", one) for one in about]
        return [Background(self.occurrences, TRACK) for _ in about]

    async def save_decisions(self, made: Sequence[Made]) -> list[bytes]:
        if self.full:
            raise Unavailable("postgres", "its disk is full")
        self.made += made
        self.did += [("saved", decision.id) for decision, _ in made]
        return [self.first or msgspec.json.encode(decision) for decision, _ in made]

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        self.did.append((topic, (key, value)))
        self.headers = headers


def enriched(lead: float = 1.0) -> EnrichedAnomaly:
    near = [Evidence("inc-1", "pool exhausted", 0.8, Action("scale_out", "db", {"factor": 2}), "resolved")]
    return msgspec.structs.replace(asked(), evidence=near, signals=Signals(lead=lead), timings={"search": 2.0})


async def decided(played: Any, told: EnrichedAnomaly | None = None, **changes: Any) -> None:
    value = msgspec.json.encode(told or enriched())
    message = Message("anomalies.enriched", 0, 1, b"f", value, [("traceparent", b"00-1")], 0)
    rejected = await decide(
        [message], settings=Settings(**changes), books=Books(played), sender=played, catalogue=CATALOGUE,
        calibration=CALIBRATION, llm=None,
    )  # fmt: skip
    assert rejected == []


NAME = decision_id("e", 1)


async def test_a_decision_is_written_down_and_then_published_as_it_stands():
    """Under its anomaly's fingerprint, with its id and the trace of what asked; it speaks of what was counted."""
    played = Played()
    await decided(played)
    ((made, came_of),) = played.made
    assert (made.id, made.verdict, made.occurrences, made.track_record) == (NAME, "recommend", 7, TRACK)
    assert (made.matched_incident, made.shadow, set(made.timings)) == ("inc-1", False, {"search", "decide"})
    assert came_of is not None
    assert played.did == [
        ("asked", ("e", "scale_out")), ("saved", NAME), ("decisions", (b"f", msgspec.json.encode(made))),
    ]  # fmt: skip
    headers = dict(played.headers)
    assert (headers["ce_type"], headers["ce_id"]) == (b"pulseguard.decision", NAME.encode())
    assert headers["traceparent"] == b"00-1"


async def test_what_is_decided_already_is_published_again_byte_for_byte():
    """Nothing is asked, made or counted; not even its JSON is read."""
    played = Played(body=b"as it was said")
    await decided(played)
    assert played.did == [("decisions", (b"f", b"as it was said"))]


async def test_who_is_second_publishes_what_the_first_one_said():
    played = Played(first=b"the first one's")
    await decided(played)
    assert played.did[-1] == ("decisions", (b"f", b"the first one's"))


async def test_what_could_not_be_written_down_is_not_published():
    played = Played(full=True)
    with pytest.raises(Unavailable):
        await decided(played)
    assert [what for what, _ in played.did] == ["asked"]


async def test_what_was_forgotten_is_not_decided_again():
    """It may have been, and another body for its id must not be."""
    played = Played(occurrences=0)
    with pytest.raises(Rejected, match="episode e is not on record"):
        await decided(played)
    assert (played.made, [what for what, _ in played.did]) == ([], ["asked"])


async def test_a_call_for_a_human_has_no_track_record():
    played = Played()
    await decided(played, enriched(lead=0.1), shadow=True)
    made: Decision = played.made[0][0]
    assert (made.verdict, made.track_record, made.shadow) == ("escalate", None, True)


@pytest.mark.parametrize(("ago", "least", "most"), [(20, 20_000, 30_000), (-20, 0, 0)])
async def test_latency_counts_from_the_arrival_in_kafka(ago: float, least: float, most: float):
    """In milliseconds; a producer's clock that runs ahead makes none of less than nothing."""
    played = Played()
    came = datetime.now(UTC) - timedelta(seconds=ago)
    await decided(played, msgspec.structs.replace(enriched(), received_at=came))
    assert least <= played.made[0][0].latency_ms <= most


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff"])
async def test_what_is_no_question_is_rejected(value: bytes | None):
    played: Any = Played()
    with pytest.raises(Rejected, match="not an enriched anomaly"):
        await decide(
            [Message("anomalies.enriched", 0, 1, b"f", value, [], 0)], settings=Settings(), books=Books(played),
            sender=played, catalogue=CATALOGUE, calibration=CALIBRATION, llm=None,
        )  # fmt: skip
    assert played.did == []
