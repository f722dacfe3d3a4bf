"""kill -9 in the middle of many slow decisions: every anomaly has exactly one decision afterwards."""

import asyncio
import json
from pathlib import Path

import asyncpg
from confluent_kafka import Producer

from pipeline import kafka
from pipeline.settings import Settings
from tests.conftest import free_port
from tests.model_server import model_server, slow
from tests.program import running, until

COUNT = 300


async def test_a_killed_worker_loses_nothing_and_decides_nothing_twice(
    settings: Settings, database_url: str, broker: str, home: Path
):
    """A worker is killed twice with up to 64 model calls in flight; the third settles the rest."""
    environment = {
        "PULSEGUARD_HOME": str(home),
        "KAFKA_BOOTSTRAP_SERVERS": broker,
        "DATABASE_URL": database_url,
        "LLM_MODEL": "openai/played",
        "RELAY_PORT": str(free_port()),
        "HTTP_PORT": str(free_port()),
    }
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute("TRUNCATE anomalies, episodes, decisions, feedback, progress")
    await kafka.create_topics(settings)
    async with model_server(slow(1.0)) as model:
        environment["LLM_API_BASE"] = model.url
        producer = Producer({"bootstrap.servers": broker})
        for number in range(COUNT):
            event = {"error_type": "database_timeout", "service": f"svc-{number}", "id": f"kill-{number}"}
            producer.produce("anomalies", json.dumps(event))
        assert producer.flush(30) == 0

        async def decided(count: int) -> bool:
            return await connection.fetchval("SELECT count(*) FROM decisions") >= count

        async def killed_after(count: int, name: str) -> None:
            async with running(["run", "worker"], environment, home / name) as worker:
                await until(lambda: decided(count), 60, f"{count} decisions; {worker.output[-2000:]}")
                worker.kill()

        async with running(["incidents", "load", "deploy/incidents"], environment, home / "load") as load:
            assert await asyncio.to_thread(load.process.wait, 30) == 0, load.output
        await killed_after(20, "first")
        await killed_after(100, "second")
        async with running(["run", "worker"], environment, home / "third") as worker:
            await until(lambda: decided(COUNT), 90, f"all decisions; {worker.output[-2000:]}")
            assert await worker.stop() == 0, worker.output[-2000:]
        asked = len(model.asked)
    rows = await connection.fetch("SELECT anomaly_id, engine, published FROM decisions")
    await connection.close()
    assert sorted(row["anomaly_id"] for row in rows) == sorted(f"kill-{number}" for number in range(COUNT))
    assert {row["engine"] for row in rows} == {"llm"}
    assert asked <= COUNT + 2 * 64  # only what was in flight at a kill is asked again
    published: dict[str, set[bytes]] = {}
    for message in await kafka.read_all(settings, settings.topic_decisions):
        body = json.loads(message.value or b"{}")
        if body["anomaly_id"].startswith("kill-"):
            published.setdefault(body["anomaly_id"], set()).add(message.value or b"")
    assert len(published) == COUNT
    assert all(len(bodies) == 1 for bodies in published.values()), "two bodies for one id"
