"""anomalies → anomalies.enriched: count the anomaly into its episode; one that opens it, or is worse, wants a decision.

Its evidence is the nearest past incidents.
An anomaly of an episode that is open already costs a decode, a fingerprint and its share of one transaction.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter

import msgspec

from pipeline import metrics
from pipeline.errors import Rejected
from pipeline.index import Found, Index
from pipeline.kafka import Message, Sender
from pipeline.settings import Settings
from pipeline.settle import Rejection, Turn
from pipeline.stages import ingest
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.publish import event_headers
from pipeline.stages.record import Arrival, Grouping, Opening, Record
from pipeline.words import query_of
from schemas import Anomaly, EnrichedAnomaly

_REMEMBERED = 10_000
"""Episodes whose evidence is kept in memory; 3 KB each."""


class Lookup:
    """The evidence for what asks for a decision.

    A revision is about the fault that its episode was opened for: that is looked up once, and again after the known
    incidents changed. Only where the error type names nothing, each anomaly is looked up by what it says.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._level = index.level
        self._kept: dict[str, Found] = {}

    async def of(self, asked: Sequence[tuple[Opening, Anomaly]]) -> list[Found]:
        """What was found for each."""
        if self._index.level != self._level or len(self._kept) > _REMEMBERED:
            self._level = self._index.level
            self._kept = {}  # another one: a search that is under way keeps what it finds in the old
        kept = self._kept
        queries = {
            place: query_of(anomaly) for place, (opening, anomaly) in enumerate(asked) if opening.episode_id not in kept
        }
        found = await self._index.search(list(queries.values())) if queries else []
        new = dict(zip(queries, found, strict=True))
        kept.update({asked[place][0].episode_id: one for place, one in new.items() if queries[place].kind})
        return [new[place] if place in new else kept[opening.episode_id] for place, (opening, _) in enumerate(asked)]


async def enrich(
    messages: Sequence[Message], *, turn: Turn, settings: Settings, topic_id: str, record: Record, lookup: Lookup,
    sender: Sender, grouping: Grouping, fingerprints: Fingerprints,
) -> list[Rejection]:  # fmt: skip
    """Settle a batch; returns what is unreadable. Every effect is keyed by the anomaly's id: repeating it is free.

    Batches may overlap, but are counted in their ``turn``: a `resolved` closes what came before it.
    """
    started = perf_counter()
    arrivals: dict[str, tuple[Arrival, Message]] = {}
    rejections: list[Rejection] = []
    for message in messages:
        try:
            arrival = read(message, settings.max_event_bytes, topic_id, fingerprints)
        except Rejected as exc:
            rejections.append((message, exc.reason))
        else:
            arrivals.setdefault(arrival.anomaly_id, (arrival, message))
    async with turn(len(messages)):
        openings = await record.record_arrivals([arrival for arrival, _ in arrivals.values()], grouping)
    recorded = perf_counter()
    if openings:
        opened = [(opening, *arrivals[opening.anomaly_id]) for opening in openings]
        found = await lookup.of([(opening, arrival.anomaly) for opening, arrival, _ in opened])
        timings = {"record": ms(started, recorded), "search": ms(recorded, perf_counter())}
        await asyncio.gather(
            *(
                _ask(sender, settings.topic_enriched, opening, arrival, message, nearest, timings)
                for (opening, arrival, message), nearest in zip(opened, found, strict=True)
            )
        )
    return rejections


def read(message: Message, max_bytes: int, topic_id: str, fingerprints: Fingerprints) -> Arrival:
    """Raw record to what the episode needs. Raises `Rejected`."""
    anomaly = ingest.decode(message, max_bytes)
    return Arrival(
        anomaly=anomaly,
        anomaly_id=ingest.identify(anomaly, message, topic_id),
        fingerprint=fingerprints.of(anomaly),
        topic_id=topic_id,
        partition=message.partition,
        offset=message.offset,
        received_at=ingest.received_at(message, datetime.now(UTC)),
    )


def ms(start: float, end: float) -> float:
    """Milliseconds between two readings of the monotonic clock."""
    return round((end - start) * 1000, 2)


async def _ask(
    sender: Sender, topic: str, opening: Opening, arrival: Arrival, message: Message,
    nearest: Found, timings: dict[str, float],
) -> None:  # fmt: skip
    enriched = EnrichedAnomaly(
        anomaly=arrival.anomaly,
        anomaly_id=arrival.anomaly_id,
        fingerprint=arrival.fingerprint,
        episode_id=opening.episode_id,
        revision=opening.revision,
        situation_id=opening.situation_id,
        evidence=nearest.evidence,
        signals=nearest.signals,
        received_at=arrival.received_at,
        timings=timings,
    )
    await publish(sender, topic, enriched, message)


async def publish(sender: Sender, topic: str, enriched: EnrichedAnomaly, cause: Message | None = None) -> None:
    """Ask for a decision, with the trace of the record that caused it."""
    headers = event_headers("anomaly.enriched", ingest.decision_id(enriched.episode_id, enriched.revision), cause)
    await sender.send(topic, enriched.fingerprint.encode(), msgspec.json.encode(enriched), headers)
    metrics.questions.inc()
