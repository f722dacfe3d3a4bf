"""Real parts for tests: an embedded PostgreSQL and one Kafka a session (``--broker``), each on free ports."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import hypothesis
import pytest
import pytest_asyncio

from pipeline import settings as pipeline_settings
from pipeline.embedded.postgres import embedded_postgres
from pipeline.migrations import migrate
from pipeline.settings import Settings
from pipeline.stages.record import Record, open_record
from tests import brokers
from tests.program import free_port, open_folder
from tests.stack import Stack

# How long one example takes says more of the machine's other work than of ours.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

TABLES = (
    "anomalies, episodes, revisions, situation_keys, decisions, incidents, feedback, notifications, messages, "
    "silences, progress, provenance"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which Kafka the suites run on: see tests/brokers.py. Which scenarios of tests/chaos, and from what seed."""
    parser.addoption("--broker", choices=brokers.KINDS, default="embedded")
    parser.addoption("--chaos", choices=("fast", "all"), default="fast")
    parser.addoption("--seed", type=int, default=1)


def pytest_report_header(config: pytest.Config) -> str:
    """Say it above the results."""
    return f"broker: {config.getoption('--broker')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that says ``fails_on(kind, …, reason=…)`` must fail there: a difference that went away is noticed."""
    for item in items:
        for mark in item.iter_markers("fails_on"):
            if config.getoption("--broker") in mark.args:
                item.add_marker(pytest.mark.xfail(strict=True, **mark.kwargs))


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up() -> AsyncIterator[Stack]:
    """One running `pulseguard up` for a file."""
    stack = Stack(open_folder())
    async with stack.up():
        yield stack


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_server(request: pytest.FixtureRequest) -> AsyncIterator[brokers.Broker]:
    """The session's Kafka, of the kind that ``--broker`` names. It is an error if that cannot be had."""
    async with brokers.running(brokers.make(request.config.getoption("--broker"))) as server:
        yield server


@pytest.fixture(scope="session")
def broker(kafka_server: brokers.Broker) -> str:
    """Its address."""
    return kafka_server.bootstrap


@pytest_asyncio.fixture
async def record(database_url: str) -> AsyncIterator[Record]:
    """The record on empty tables."""
    connection = await asyncpg.connect(database_url, timeout=10)
    await connection.execute(f"TRUNCATE {TABLES}")
    await connection.close()
    async with open_record(database_url) as opened:
        yield opened


@pytest.fixture
def settings(database_url: str, kafka_server: brokers.Broker, tmp_path: Path) -> Settings:
    """Every default, on the session's PostgreSQL and broker."""
    return replace(on(kafka_server), database_url=database_url, home=tmp_path)


def on(server: brokers.Broker) -> Settings:
    """Every default, on that broker."""
    return replace(pipeline_settings.read(server.environment), kafka_is_embedded=server.kind == "embedded")
