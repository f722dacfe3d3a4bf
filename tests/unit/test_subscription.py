"""What a rebalance leaves of a subscription: its bookkeeping, without a broker."""

import asyncio
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from pipeline.errors import Unavailable
from pipeline.kafka import Message
from pipeline.kafka.consume import BATCH, Subscription

ONE, TWO = TopicPartition("decisions", 0), TopicPartition("decisions", 1)


class Consumer:
    """librdkafka's, which brings nothing; ``did`` is what it was told."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.committed: list[tuple[int, int]] = []

    def assignment(self) -> list[TopicPartition]:
        return [ONE]

    def poll(self, _: float) -> None:
        """Nothing."""

    def pause(self, _: list[TopicPartition]) -> None:
        self.did.append("pause")

    def resume(self, _: list[TopicPartition]) -> None:
        self.did.append("resume")

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        self.committed += [(part.partition, part.offset) for part in offsets]


def record(partition: int, offset: int) -> Message:
    return Message("decisions", partition, offset, b"k", b"v", [], 0)


def subscribed(*partitions: TopicPartition) -> tuple[Any, Any]:
    consumer: Any = Consumer()
    subscription = Subscription(consumer, ["decisions"])
    subscription._on_assign(consumer, partitions)
    return consumer, subscription


@pytest.mark.parametrize("how", ["_on_revoke", "_on_lost"])
async def test_what_went_to_others_is_neither_handed_out_nor_acknowledged(how: str):
    """And what stays is both: up to and including the last one of the batch."""
    consumer, subscription = subscribed(ONE, TWO)
    subscription._ready.extend([record(0, 7), record(1, 3), record(0, 8)])
    getattr(subscription, how)(consumer, [TWO])
    batch = await subscription._next()
    assert [(message.partition, message.offset) for message in batch] == [(0, 7), (0, 8)]
    wanted = [record(0, 8), record(1, 3), record(0, 7)], [record(1, 3)]
    some, gone = [asyncio.create_task(subscription.commit(batch)) for batch in wanted]
    await asyncio.sleep(0)
    subscription._poll()
    await some
    assert consumer.committed == [(0, 9)]
    with pytest.raises(Unavailable, match="gone to another member"):
        await gone


async def test_what_is_lost_before_it_is_acknowledged_is_its_new_owners():
    """It went within the very poll that the commit waited for: its owner may be further by now."""
    consumer, subscription = subscribed(ONE, TWO)
    batches = [record(1, 3)], [record(0, 8), record(1, 3)]
    lost, some = [asyncio.create_task(subscription.commit(batch)) for batch in batches]
    await asyncio.sleep(0)
    subscription._on_lost(consumer, [TWO])
    subscription._poll()
    with pytest.raises(Unavailable, match="gone to another member"):
        await lost
    await some
    assert consumer.committed == [(0, 9)]


async def test_a_commit_of_a_subscription_that_ends_is_told(monkeypatch: pytest.MonkeyPatch):
    """What was wanted of it, what is under way, and what comes after: none of it waits for ever."""
    consumer, subscription = subscribed(ONE)
    given_up = asyncio.create_task(subscription.commit([record(0, 1)]))
    await asyncio.sleep(0)
    given_up.cancel()
    commits = [asyncio.create_task(subscription.commit([record(0, offset)])) for offset in (7, 8)]
    await asyncio.sleep(0)

    def break_(**_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(consumer, "commit", break_)
    subscription._task = asyncio.create_task(subscription._fill())
    with pytest.raises(RuntimeError, match="broken"):
        await subscription._task
    commits.append(asyncio.create_task(subscription.commit([record(0, 9)])))
    async with asyncio.timeout(5):
        for commit in commits:
            with pytest.raises(Unavailable, match="ended"):
                await commit


async def test_who_holds_enough_pauses_and_goes_on():
    """What is assigned anew is resumed, whatever was paused before."""
    consumer, subscription = subscribed(ONE)
    subscription._poll()
    subscription._ready.extend(record(0, n) for n in range(BATCH))
    for _ in range(2):
        subscription._poll()
    assert len(await subscription._next()) == BATCH
    for _ in range(2):
        subscription._poll()
    assert consumer.did == ["resume", "pause", "resume"]
    subscription._on_assign(consumer, [ONE])
    subscription._poll()
    assert consumer.did[3:] == ["resume"]
