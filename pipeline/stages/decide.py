"""anomalies.enriched → decisions: one decision for one revision of one episode, written down before it is published.

A redelivered input that is decided already asks no model: what the table holds is published again, byte for byte.
Decisions that are under way at one time go to the tables together.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter

import msgspec

from pipeline import metrics
from pipeline.catalogue import Catalogue
from pipeline.confidence import Calibration, trust
from pipeline.errors import EngineFailed, Rejected
from pipeline.kafka import Message, Sender
from pipeline.llm import Llm
from pipeline.nearest import Advice, advise, symptom_of
from pipeline.settings import Settings
from pipeline.settle import Rejection
from pipeline.stages import ingest
from pipeline.stages.enrich import ms
from pipeline.stages.provenance import provenance_of
from pipeline.stages.publish import event_headers
from pipeline.stages.record import Record
from pipeline.together import Together
from schemas import Decision, EnrichedAnomaly, ModelCall, TrackRecord

_enriched = msgspec.json.Decoder(EnrichedAnomaly)


class Books:
    """The record as one decision among many uses it."""

    def __init__(self, record: Record) -> None:
        self.body = Together(record.decision_bodies)
        self.background = Together(record.backgrounds)
        self.save = Together(record.save_decisions)


async def decide(
    messages: Sequence[Message], *, settings: Settings, books: Books, sender: Sender, catalogue: Catalogue,
    calibration: Calibration, llm: Llm | None,
) -> list[Rejection]:  # fmt: skip
    """Decide one enriched anomaly (the batch holds one: model calls share nothing)."""
    (message,) = messages
    enriched = read(message)
    decision_id = ingest.decision_id(enriched.episode_id, enriched.revision)
    body = await books.body(decision_id)
    if body is None:
        started = perf_counter()
        calls: list[ModelCall] = []
        advice = await advised(enriched, catalogue, calibration, settings.min_confidence, llm, calls)
        background = await books.background((enriched.episode_id, advice.action.name))
        if not background.occurrences:  # decided before, maybe: another body for its id must not be
            raise Rejected(f"episode {enriched.episode_id} is not on record: it was forgotten, or never counted here")
        now = datetime.now(UTC)
        decision = compose(
            decision_id, enriched, advice, catalogue, background.occurrences, ms(started, perf_counter()), now,
            shadow=settings.shadow,
            track_record=None if advice.verdict == "escalate" else background.track_record,
        )  # fmt: skip
        came_of = provenance_of(decision_id, enriched.signals, calibration, settings.min_confidence, calls)
        body = await books.save((decision, came_of))
        metrics.decisions.labels(engine=advice.engine, verdict=advice.verdict).inc()
        metrics.decision_latency.observe(decision.latency_ms / 1000)
    headers = event_headers("decision", decision_id, message)
    await sender.send(settings.topic_decisions, enriched.fingerprint.encode(), body, headers)
    return []


def read(message: Message) -> EnrichedAnomaly:
    """The enriched anomaly in a record of ours. Raises `Rejected`."""
    try:
        return _enriched.decode(message.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Rejected(f"not an enriched anomaly: {exc}") from exc


async def advised(
    enriched: EnrichedAnomaly, catalogue: Catalogue, calibration: Calibration, least: float, llm: Llm | None,
    calls: list[ModelCall],
) -> Advice:  # fmt: skip
    """The model's advice, or the rule's where there is no model or it failed: late is worse than plain.

    Every question to the model is added to ``calls``, also where its advice is not taken.
    """
    sure = trust(enriched.signals, calibration)
    failed: EngineFailed | None = None
    if llm is not None:
        try:
            return await llm.advise(enriched, catalogue, sure, least, calls)
        except EngineFailed as exc:
            failed = exc
            metrics.fallbacks.labels(reason=exc.failure).inc()
    advice = advise(enriched.anomaly, enriched.evidence, sure, catalogue, least)
    return replace(advice, fallback_reason=failed.reason, usage=failed.usage) if failed else advice


def compose(
    decision_id: str, enriched: EnrichedAnomaly, advice: Advice, catalogue: Catalogue, occurrences: int,
    decide_ms: float, now: datetime, *, shadow: bool, track_record: TrackRecord | None = None,
) -> Decision:  # fmt: skip
    """Advice and anomaly to the decision that everybody sees."""
    anomaly = enriched.anomaly
    latency = max((now - enriched.received_at).total_seconds() * 1000, 0.0)  # clocks of producers may run ahead
    return Decision(
        id=decision_id,
        episode_id=enriched.episode_id,
        revision=enriched.revision,
        situation_id=enriched.situation_id,
        anomaly_id=enriched.anomaly_id,
        fingerprint=enriched.fingerprint,
        service=anomaly.service,
        error_type=anomaly.error_type,
        severity=anomaly.severity,
        symptom=symptom_of(anomaly),
        matched_incident=advice.matched_incident,
        verdict=advice.verdict,
        recommended_action=catalogue.sentence(advice.action),
        action=advice.action,
        confidence_score=advice.confidence,
        rationale=advice.rationale,
        evidence=enriched.evidence,
        signals=enriched.signals,
        occurrences=occurrences,
        engine=advice.engine,
        model=advice.model,
        prompt_version=advice.prompt_version,
        usage=advice.usage,
        fallback_reason=advice.fallback_reason,
        latency_ms=round(latency, 2),
        timings=enriched.timings | {"decide": decide_ms},
        created_at=now,
        shadow=shadow,
        track_record=track_record,
    )
