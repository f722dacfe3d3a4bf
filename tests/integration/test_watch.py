"""The figures that are read from PostgreSQL and Kafka, and not counted as things pass by."""

from datetime import UTC, datetime
from uuid import uuid4

import msgspec
from prometheus_client import REGISTRY

from pipeline import kafka, watch
from pipeline.settings import Settings
from pipeline.sinks.outbox import News, Outbox
from pipeline.sinks.policy import Policy
from pipeline.stages.record import Grouping, Record
from schemas import Usage
from tests.integration.test_record import arrival, decision


def shown(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"pulseguard_{name}", labels)


async def test_what_is_open_and_what_the_model_has_cost_today(record: Record):
    """Of all workers together; yesterday's does not count."""
    await record.record_arrivals([arrival("a"), arrival("b", fingerprint="other")], Grouping())
    await record.record_arrivals([arrival("c", 1, "other", status="resolved")], Grouping())
    await watch.sum_up(record, model=False)
    assert (shown("episodes_open"), shown("model_spent_usd")) == (1, 0)
    today = decision("dec_new", created_at=datetime.now(UTC), usage=Usage(1, 1, 0.5))
    await record.save_decisions([(decision("dec_old", usage=Usage(1, 1, 4.0)), None), (today, None)])
    await watch.sum_up(record, model=True)
    assert shown("model_spent_usd") == 0.5


async def test_what_slack_is_still_to_be_told(record: Record, settings: Settings):
    """How many decisions, for how long the first, and what nobody has taken from the topic."""
    outbox, behind, topic = Outbox(record, Policy()), kafka.Behind(settings), settings.topic_decisions
    await kafka.create_topics(settings)
    group = f"nobody-{uuid4().hex[:8]}"
    await watch.sum_up_slack(record, behind, group, topic)
    assert (shown("slack_waiting"), shown("slack_oldest_waiting_seconds")) == (0, 0)
    body = msgspec.json.encode(decision())
    await outbox.take([News(decision(), kafka.Message(topic, 0, 0, None, body, [], 0))])
    async with record.connection() as connection:
        await connection.execute("UPDATE notifications SET since = now() - interval '90 s'")
    sender = kafka.Sender(settings)
    for _ in range(4):
        await sender.send(topic, b"k", body)
    await sender.close()
    await watch.sum_up_slack(record, behind, group, topic)
    assert shown("slack_waiting") == 1
    assert 90 <= (shown("slack_oldest_waiting_seconds") or 0) < 120
    lags = [shown("lag", stage="slack", topic=topic, partition=str(number)) or 0 for number in range(4)]
    assert sum(lags) >= 3  # the embedded broker never tells the last batch
