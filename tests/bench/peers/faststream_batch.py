"""FastStream's batch handler: one statement and one acknowledgement for all that has come."""

from typing import Any

import asyncpg
import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

from tests.bench.peers.work import BATCH, COUNT_MANY, columns, row_of, told


async def main() -> None:
    task = told()
    broker = KafkaBroker(task.kafka, logger=None, apply_types=False)
    pool = await asyncpg.create_pool(task.database, min_size=1, max_size=1)

    async def bare(message: Any) -> Any:
        return message

    @broker.subscriber(
        task.topic, group_id=task.group, auto_offset_reset="earliest", ack_policy=AckPolicy.ACK, batch=True,
        max_records=BATCH, batch_timeout_ms=5, decoder=bare, fetch_max_wait_ms=25, session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )  # fmt: skip
    async def count(message: Any) -> None:
        rows = [row_of(r.value, r.topic, r.partition, r.offset, r.timestamp) for r in message.raw_message]
        await pool.execute(COUNT_MANY, *columns(rows))

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    uvloop.run(main())
