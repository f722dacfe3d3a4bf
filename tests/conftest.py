"""Real parts for tests: an embedded PostgreSQL and an embedded broker a session, each on a free port."""

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from pipeline import settings as pipeline_settings
from pipeline.embedded.broker import embedded_broker
from pipeline.embedded.postgres import embedded_postgres
from pipeline.migrations import migrate
from pipeline.settings import Settings
from pipeline.stages.record import Record, open_record

TABLES = "anomalies, episodes, decisions, incidents, feedback, notifications, progress"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_folder() -> Path:
    """A temporary folder that the unprivileged user of an embedded PostgreSQL can reach; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="pulseguard-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def home() -> Iterator[Path]:
    folder = open_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def database_url() -> AsyncIterator[str]:
    """A migrated database."""
    folder = open_folder()
    try:
        async with embedded_postgres(folder, free_port()) as url:
            await migrate(url)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker() -> AsyncIterator[str]:
    async with embedded_broker(free_port()) as address:
        yield address


@pytest_asyncio.fixture
async def record(database_url: str) -> AsyncIterator[Record]:
    """The record on empty tables."""
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute(f"TRUNCATE {TABLES}")
    await connection.close()
    async with open_record(database_url) as opened:
        yield opened


@pytest.fixture
def settings(database_url: str, broker: str, tmp_path: Path) -> Settings:
    """Every default, on the session's PostgreSQL and broker."""
    return replace(
        pipeline_settings.read({}), kafka=broker, database_url=database_url, home=tmp_path, kafka_is_embedded=True
    )
