"""incidents and feedback → Postgres and Qdrant: what was learned, searchable at once."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from pipeline.errors import Rejected
from pipeline.index import Index
from pipeline.kafka import Message
from pipeline.settle import Rejection
from pipeline.stages.record import Record
from schemas import Feedback, Incident

T = TypeVar("T")


async def learn_incidents(messages: Sequence[Message], *, record: Record, index: Index) -> list[Rejection]:
    """Record a batch of incidents and bring the index level."""
    incidents, rejections = _read(messages, Incident)
    if incidents:
        newest = {incident.id: incident for incident in incidents}
        await record.upsert_incidents(list(newest.values()))
        await index.sync(record)
    return rejections


async def learn_feedback(messages: Sequence[Message], *, record: Record) -> list[Rejection]:
    """Record a batch of verdicts; one on a decision that nobody made is rejected."""
    rejections: list[Rejection] = []
    for message in messages:
        verdicts, unreadable = _read([message], Feedback)
        rejections += unreadable
        for verdict in verdicts:
            try:
                await record.save_feedback(verdict)
            except Rejected as exc:
                rejections.append((message, exc.reason))
    return rejections


def _read(messages: Sequence[Message], kind: type[T]) -> tuple[list[T], list[Rejection]]:
    values: list[T] = []
    rejections: list[Rejection] = []
    for message in messages:
        try:
            values.append(msgspec.json.decode(message.value or b"", type=kind))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            rejections.append((message, f"not {kind.__name__.lower()}: {exc}"))
    return values, rejections
