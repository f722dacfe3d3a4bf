"""The way of an event, on one screen.

    anomalies ──▶ enrich ──▶ anomalies.enriched ──▶ decide ──▶ decisions
    incidents ──▶ learn        feedback ──▶ learn

Each stage is an async function from a batch of messages to those it rejects; `pipeline.settle` gives each one its fate.
"""

from dataclasses import dataclass
from functools import partial

import faust

from pipeline import worker
from pipeline.catalogue import Catalogue
from pipeline.confidence import Calibration
from pipeline.index import Index
from pipeline.kafka import Message, Sender
from pipeline.llm import Llm
from pipeline.settings import Settings
from pipeline.stages.decide import Books, decide
from pipeline.stages.enrich import Lookup, enrich
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.learn import learn_feedback, learn_incidents
from pipeline.stages.publish import bury
from pipeline.stages.record import Grouping, Record
from schemas import Reason


@dataclass(frozen=True, slots=True)
class Parts:
    """What the stages need, opened by `pipeline.app`. ``topic_id`` is Kafka's id of the anomalies topic."""

    settings: Settings
    record: Record
    index: Index
    sender: Sender
    catalogue: Catalogue
    calibration: Calibration
    grouping: Grouping
    fingerprints: Fingerprints
    llm: Llm | None
    topic_id: str


def stages(settings: Settings) -> dict[str, str]:
    """Each topic that a worker reads → the stage that does."""
    return {
        settings.topic_anomalies: "enrich", settings.topic_enriched: "decide",
        settings.topic_incidents: "learn_incidents", settings.topic_feedback: "learn_feedback",
    }  # fmt: skip


def lay(app: faust.App, parts: Parts) -> None:
    """Register the agents, in the order of the way."""
    settings, record, index, sender = parts.settings, parts.record, parts.index, parts.sender

    async def dead_letter(message: Message, reason: Reason, text: str) -> None:
        known = parts.topic_id if message.topic == settings.topic_anomalies else None
        await bury(sender, settings.topic_dlq, message, reason, text, known)

    worker.overlapping(
        app, settings.topic_anomalies, "enrich",
        partial(enrich, settings=settings, topic_id=parts.topic_id, record=record, lookup=Lookup(index), sender=sender,
            grouping=parts.grouping, fingerprints=parts.fingerprints),
        dead_letter,
    )  # fmt: skip
    worker.one_by_one(
        app, settings.topic_enriched, "decide",
        partial(decide, settings=settings, books=Books(record), sender=sender, catalogue=parts.catalogue,
            calibration=parts.calibration, llm=parts.llm),
        dead_letter, settings.llm_in_flight,
    )  # fmt: skip
    worker.in_batches(
        app, settings.topic_incidents, "learn_incidents",
        partial(learn_incidents, record=record, index=index), dead_letter,
    )  # fmt: skip
    worker.in_batches(
        app,
        settings.topic_feedback,
        "learn_feedback",
        partial(learn_feedback, record=record, sender=sender, settings=settings),
        dead_letter,
    )
