"""incidents and feedback → Postgres and Qdrant: what was learned, searchable at once.

A verdict that says what was done and how it went becomes an incident: at once where it says so itself, and an accepted
one when its episode is resolved. An incident is retired by a record without a value, as compaction has it.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
import structlog

from pipeline.catalogue import ESCALATE
from pipeline.errors import Rejected
from pipeline.index import Index
from pipeline.kafka import Message, Sender
from pipeline.settings import Settings
from pipeline.settle import Rejection
from pipeline.stages.proposals import Proposals
from pipeline.stages.record import Lesson, Record
from schemas import Feedback, Incident, Outcome

T = TypeVar("T")
log = structlog.get_logger()


async def learn_incidents(messages: Sequence[Message], *, record: Record, index: Index) -> list[Rejection]:
    """Record a batch of incidents, retire those that have no value, and bring the index level."""
    newest: dict[str, Incident | None] = {}
    rejections: list[Rejection] = []
    for message in messages:  # in order: the last word on an id holds
        if message.value is None and message.key:
            newest[message.key.decode(errors="replace")] = None
            continue
        incidents, unreadable = _read([message], Incident)
        rejections += unreadable
        newest |= {incident.id: incident for incident in incidents}
    if newest:
        await record.upsert_incidents([incident for incident in newest.values() if incident is not None])
        await record.retire_incidents([name for name, incident in newest.items() if incident is None])
        await index.sync(record)
    return rejections


async def learn_feedback(
    messages: Sequence[Message], *, record: Record, sender: Sender, settings: Settings
) -> list[Rejection]:  # fmt: skip
    """Record a batch of verdicts, and publish what they teach; one on a decision that nobody made is rejected."""
    rejections: list[Rejection] = []
    for message in messages:
        verdicts, unreadable = _read([message], Feedback)
        rejections += unreadable
        for verdict in verdicts:
            try:
                await record.save_feedback(verdict)
            except Rejected as exc:
                rejections.append((message, exc.reason))
    await teach(record, sender, settings)
    return rejections


async def teach(record: Record, sender: Sender, settings: Settings) -> int:
    """Publish an incident for each verdict that has become one; returns how many. Doing it again changes nothing.

    With LEARN_APPROVAL it is proposed instead, and published by who approves it. What was learned from an acceptance
    that is taken back is retired. One that Kafka refuses for good, too large, is given up, and is in nobody's way.
    """
    if not settings.learn_from_feedback:
        return 0
    lessons = await record.lessons()
    proposals = Proposals(record)
    taught = 0
    for lesson in lessons:
        incident = None if lesson.overtaken else incident_of(lesson)
        name = incident_id(lesson.decision.episode_id)
        if incident is not None and settings.learn_approval:
            await proposals.put(incident)
            log.info("incident_proposed", incident=name, feedback=lesson.feedback.id)
        elif incident is not None or lesson.takes_back:
            await proposals.drop(name)
            try:
                value = msgspec.json.encode(incident) if incident is not None else None
                await sender.send(settings.topic_incidents, name.encode(), value)
                taught += incident is not None
            except Rejected as exc:
                log.warning("lesson_refused", feedback=lesson.feedback.id, incident=name, detail=exc.reason)
        if lesson.takes_back:
            await record.unlearn(lesson.decision.episode_id)
        await record.learned(lesson.feedback.id)
    return taught


def incident_of(lesson: Lesson) -> Incident | None:
    """What a verdict teaches: what was seen, what was done, and how it went. None where it says none of that.

    A later verdict on the same episode takes the place of an earlier one, in whatever order they are heard.
    """
    feedback, decision, anomaly = lesson.feedback, lesson.decision, lesson.anomaly
    action = feedback.action or (None if feedback.verdict == "correct" else decision.action)
    if action is None or action.name == ESCALATE:
        return None
    if feedback.worked is None:
        outcome: Outcome = "resolved" if feedback.verdict == "accept" and lesson.resolved else "unknown"
    else:
        outcome = "resolved" if feedback.worked else "failed"
    if feedback.action is None and outcome == "unknown":
        return None
    done = feedback.comment or (decision.recommended_action if action == decision.action else "")
    return Incident(
        id=incident_id(decision.episode_id),
        title=decision.symptom[:1024],
        service=anomaly.service,
        error_type=anomaly.error_type,
        symptoms=". ".join(part for part in (decision.symptom, anomaly.message) if part),
        mitigation=done,
        action=action,
        outcome=outcome,
        occurred_at=lesson.received_at,
        labels=anomaly.labels,
        source="feedback",
    )


def incident_id(episode_id: str) -> str:
    """What is learned from verdicts on one episode is one incident."""
    return f"inc-{episode_id}"


def _read(messages: Sequence[Message], kind: type[T]) -> tuple[list[T], list[Rejection]]:
    values: list[T] = []
    rejections: list[Rejection] = []
    for message in messages:
        try:
            values.append(msgspec.json.decode(message.value or b"", type=kind))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            rejections.append((message, f"not {kind.__name__.lower()}: {exc}"))
    return values, rejections
