"""What the embedded parts promise holds on the servers they stand for."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import kafka, settings
from pipeline.embedding import open_embedder
from pipeline.index import open_index
from pipeline.migrations import migrate
from pipeline.settings import Settings
from pipeline.stages.fingerprints import Fingerprints
from pipeline.stages.record import Arrival, Grouping, open_record
from pipeline.words import Query
from schemas import Action, Anomaly, Incident


@pytest.fixture
def plain(tmp_path: Path) -> Settings:
    return replace(settings.read({}), home=tmp_path)


async def test_kafka_keeps_what_it_acknowledged(plain: Settings, kafka_bootstrap: str) -> None:
    """Topics are made once, a sent record is read back with key and headers, and a group gets each record once."""
    on_server = replace(plain, kafka=kafka_bootstrap)
    await kafka.create_topics(on_server)
    await kafka.create_topics(on_server)
    sender = kafka.Sender(on_server)
    try:
        await asyncio.gather(*(sender.send("decisions", b"k", f"{n}".encode(), [("h", b"v")]) for n in range(100)))
    finally:
        await sender.close()
    held = await kafka.read_all(on_server, "decisions")
    assert sorted(int(message.value or b"") for message in held) == list(range(100))
    assert {(message.key, *message.headers) for message in held} == {(b"k", ("h", b"v"))}
    assert await kafka.topic_id(on_server, "decisions") != await kafka.topic_id(on_server, "feedback")

    seen: list[kafka.Message] = []
    async with asyncio.timeout(60), kafka.subscribe(on_server, ["decisions"], "docker-test") as subscription:
        async for batch in subscription:
            seen += batch
            await subscription.commit(batch)
            if len(seen) == 100:
                break
    assert sorted(message.offset for message in seen) == sorted(message.offset for message in held)


async def test_postgres_counts_exactly(database_url: str) -> None:
    """Migrations run twice without harm, and a batch that is delivered twice is counted once."""
    await migrate(database_url)
    await migrate(database_url)
    anomaly = Anomaly(error_type="database_timeout", service="payments")
    fingerprint = Fingerprints().of(anomaly)
    arrivals = [Arrival(anomaly, f"anm_{n}", fingerprint, "topic", 0, n, datetime.now(UTC)) for n in range(50)]
    async with open_record(database_url) as record:
        first = await record.record_arrivals(arrivals, Grouping())
        again = await record.record_arrivals(arrivals, Grouping())
        assert [opening.episode_id for opening in first] == [opening.episode_id for opening in again]
        assert len(first) == 1
        assert [row["occurrences"] for row in await record.episodes()] == [50]


async def test_qdrant_finds_what_postgres_holds(plain: Settings, database_url: str, qdrant_url: str) -> None:
    """The index is derived: level with PostgreSQL after a sync, and the nearest incident comes first."""
    on_server = replace(plain, database_url=database_url, qdrant_url=qdrant_url)
    throttle = Action("throttle_connections", "payments-db", {"limit_percent": 30})
    incidents = [
        Incident(id="db", title="Database connection pool exhausted", symptoms="queries time out", action=throttle),
        Incident(id="tls", title="TLS certificate expired", symptoms="handshakes fail at the edge"),
    ]
    await migrate(database_url)
    async with open_record(database_url) as record:
        await record.upsert_incidents(incidents)
        async with open_index(on_server, await asyncio.to_thread(open_embedder, on_server)) as index:
            await index.sync(record)
            assert await index.sync(record) == 0
            hits = (await index.search([Query("database connections time out")], 2))[0].evidence
            assert [hit.incident_id for hit in hits] == ["db", "tls"]
            assert hits[0].action == throttle
            assert await index.rebuild(record) == 2
