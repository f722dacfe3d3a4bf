"""FastStream's plain handler, one event at a time, a worker for each partition.

FastStream's own acknowledgement commits after each event; here what is done is committed behind, twice a second, and
its type checks and log are off: all that costs nothing in safety and slows it down.
"""

import asyncio
from typing import Any

import asyncpg
import uvloop
from aiokafka import TopicPartition
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

from tests.bench.peers.work import COMMIT_SECONDS, COUNT_ONE, row_of, told

PARTITIONS = 4


async def main() -> None:
    task = told()
    broker = KafkaBroker(task.kafka, logger=None, apply_types=False)
    pool = await asyncpg.create_pool(task.database, min_size=PARTITIONS, max_size=PARTITIONS)
    done: dict[Any, dict[TopicPartition, int]] = {}

    async def bare(message: Any) -> Any:
        return message  # the record itself: the work decodes it

    @broker.subscriber(
        task.topic, group_id=task.group, auto_offset_reset="earliest", ack_policy=AckPolicy.MANUAL,
        max_workers=PARTITIONS, decoder=bare, fetch_max_wait_ms=25, session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )  # fmt: skip
    async def count(message: Any) -> None:
        raw = message.raw_message
        await pool.execute(COUNT_ONE, *row_of(raw.value, raw.topic, raw.partition, raw.offset, raw.timestamp))
        done.setdefault(message.consumer, {})[TopicPartition(raw.topic, raw.partition)] = raw.offset + 1

    async def commit() -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            for consumer, offsets in list(done.items()):
                await consumer.commit(dict(offsets))

    async with asyncio.TaskGroup() as group:
        group.create_task(commit())
        await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    uvloop.run(main())
