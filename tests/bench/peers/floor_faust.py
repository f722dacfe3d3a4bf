"""The floor under Faust: raw bytes handed to an agent that drops them; events one by one, or in batches.

`events`: `stream.noack().events()`, each acknowledged. `batches`: `stream.take(500)`. On uvloop, without its sensors.
Says what it reached in one line of JSON.
"""

import asyncio
import json
import logging
import os
import sys
import time
from typing import Any

import faust
import uvloop

from tests.bench.peers.work import BATCH, COMMIT_SECONDS, told


async def main(way: str) -> None:
    task = told()
    wanted = int(os.environ["BENCH_EVENTS"])
    logging.disable(logging.ERROR)
    app = faust.App(
        task.group, broker=f"kafka://{task.kafka}", autodiscover=False, web_enabled=False, topic_allow_declare=False,
        topic_disable_leader=True, table_standby_replicas=0, broker_session_timeout=3, broker_heartbeat_interval=0.5,
        broker_commit_interval=COMMIT_SECONDS, stream_buffer_maxsize=4096,
    )  # fmt: skip
    topic = app.topic(task.topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    done = asyncio.Event()
    marks: list[tuple[int, float, float]] = []
    seen = 0

    def saw(count: int) -> None:
        nonlocal seen
        seen += count
        if not marks or seen >= wanted:
            marks.append((seen, time.perf_counter(), time.process_time()))
            if seen >= wanted:
                done.set()

    async def events(stream: Any) -> None:
        async for event in stream.noack().events():
            event.ack()
            saw(1)

    async def batches(stream: Any) -> None:
        async for values in stream.take(BATCH, within=0.005):
            saw(len(values))

    app.agent(topic, name=way)({"events": events, "batches": batches}[way])
    await app.start()
    app.sensors.remove(app.monitor)
    await done.wait()
    (first, began, cpu), (last, ended, cpu_then) = marks[0], marks[-1]
    events_seen = last - first
    report = {"rate": events_seen / (ended - began), "cpu_us": (cpu_then - cpu) / events_seen * 1e6}
    print(json.dumps(report), flush=True)
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
