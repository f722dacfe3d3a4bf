"""A running `pulseguard up`, and how plain clients reach it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.program import Program, free_port, running


class Stack:
    """A running `up` and how to reach it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = {name: str(free_port()) for name in ("KAFKA_PORT", "HTTP_PORT", "RELAY_PORT", "POSTGRES_PORT")}
        self.kafka = f"127.0.0.1:{self.ports['KAFKA_PORT']}"
        self.http = f"http://127.0.0.1:{self.ports['HTTP_PORT']}"
        self.feed = f"ws://127.0.0.1:{self.ports['RELAY_PORT']}/ws/incidents"
        self.slack: list[dict[str, Any]] = []
        self.environment = self.ports | {"PULSEGUARD_HOME": str(home), "COLUMNS": "200"}

    @asynccontextmanager
    async def up(self) -> AsyncIterator[Program]:
        """The program, ready."""
        async with running(["up"], self.environment, self.home / "log") as program:
            await program.says("PulseGuard is ready", 60)
            yield program

    @asynccontextmanager
    async def webhook(self) -> AsyncIterator[None]:
        """Name a Slack webhook of ours in the environment; what it is sent is in ``slack``."""

        async def take(request: web.Request) -> web.Response:
            self.slack.append(await request.json())
            return web.Response(text="ok")

        app = web.Application()
        app.router.add_post("/hook", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.environment["SLACK_WEBHOOK_URL"] = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        try:
            yield
        finally:
            await runner.cleanup()

    def publish(self, *values: bytes | None, **settings: str) -> None:
        producer = Producer({"bootstrap.servers": self.kafka, "message.max.bytes": 10_000_000, **settings})
        for value in values:
            producer.produce("anomalies", value)
        assert producer.flush(30) == 0

    def read(self, topic: str) -> list[Any]:
        """All that the topic holds. Without a group: joining one takes half its session on the embedded broker."""
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "none", "enable.partition.eof": True})
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Any] = []
        ends = 0
        while ends < len(partitions):
            record = consumer.poll(10)
            assert record is not None
            if record.error() is None:
                found.append(record)
            else:
                ends += 1
        consumer.close()
        return found

    async def rows(self, query: str, *values: object) -> list[Any]:
        words = [
            line for line in (self.home / "endpoints").read_text().splitlines() if line.startswith("DATABASE_URL=")
        ]
        connection = await asyncpg.connect(words[0].removeprefix("DATABASE_URL="), timeout=10)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()


async def next_decision(feed: Any, error_type: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            event = json.loads(await feed.recv())
            if event["type"] == "decision" and event["data"]["error_type"] == error_type:
                return dict(event["data"])
