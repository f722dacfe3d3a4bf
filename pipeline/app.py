"""The composition root: opens the parts, starts the roles, and closes everything in reverse. One line after another."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import structlog

from pipeline import endpoints, flow, kafka, metrics, worker
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration
from pipeline.embedded.broker import embedded_broker
from pipeline.embedded.postgres import embedded_postgres
from pipeline.embedding import open_embedder
from pipeline.errors import Unavailable
from pipeline.gateway.app import build as build_gateway
from pipeline.gateway.app import serve_gateway
from pipeline.index import Index, open_index
from pipeline.knowledge import read_incidents
from pipeline.llm import Llm, open_llm
from pipeline.migrations import migrate
from pipeline.settings import ROLES, Settings
from pipeline.sinks import slack
from pipeline.sinks.relay import serve_relay
from pipeline.stages.record import Record, open_record

SEED = Path(__file__).parent.parent / "deploy" / "incidents"
SYNC_SECONDS = 5.0
"""How long knowledge that another process learned may be missing from this one's index."""

log = structlog.get_logger()
Ready = Callable[[Settings], Awaitable[None]]


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Settings]:
    """Embed what the settings do not name, and write down where it runs for the other commands."""
    async with AsyncExitStack() as stack:
        if settings.database_url is None:
            url = await stack.enter_async_context(embedded_postgres(settings.home, settings.postgres_port))
            settings = replace(settings, database_url=url)
        if settings.kafka is None:
            address = await stack.enter_async_context(embedded_broker(settings.kafka_port))
            settings = replace(settings, kafka=address, kafka_is_embedded=True)
        yield settings


async def run(settings: Settings, roles: Sequence[str], when_ready: Ready, *, seed: bool = False) -> None:
    """Run the roles until SIGINT or SIGTERM, or until one of them dies."""
    stop = _stop_signal()
    async with AsyncExitStack() as stack:
        assert settings.database_url is not None  # noqa: S101 - `settings.required` or `embedded` saw to it
        await migrate(settings.database_url)
        record = await stack.enter_async_context(open_record(settings.database_url))
        settings = replace(settings, kafka_is_embedded=await kafka.is_tansu(settings))
        await kafka.create_topics(settings)
        await _check_rights(settings, roles)
        if settings.metrics_port and "gateway" not in roles:
            stack.enter_context(metrics.served(settings.host, settings.metrics_port))
        sender = kafka.Sender(settings)
        stack.push_async_callback(sender.close)
        catalogue = load_catalogue(settings.actions_file)
        calibration = load_calibration(settings.calibration_file)
        if seed:
            await _seed(record)
        if {"worker", "gateway"} & set(roles):
            index = await _open_index(stack, settings, record)
            llm = _open_llm(stack, settings, record) if "worker" in roles else None
        if "relay" in roles:
            await stack.enter_async_context(serve_relay(settings))
        # After everything that the roles use: what closes first is drained while the rest is still open.
        tasks = await stack.enter_async_context(_Tasks(stop))
        worker_ready = asyncio.Event()
        if {"worker", "gateway"} & set(roles):
            tasks.start(_keep_level(index, record), "sync")
        if "slack" in roles:
            tasks.start(slack.run_slack(settings, record, sender), "slack")
        if "worker" in roles:
            if settings.kafka_is_embedded:
                await kafka.prime_group(settings, worker.GROUP)
            topic_id = await kafka.topic_id(settings, settings.topic_anomalies)
            faust_app = worker.build(settings)
            flow.lay(faust_app, flow.Parts(settings, record, index, sender, catalogue, calibration, llm, topic_id))
            tasks.start(worker.run(faust_app, worker_ready), "worker")
        if "gateway" in roles:
            starting = {"worker": worker_ready} if "worker" in roles else {}
            gateway = build_gateway(settings, record, index, sender, catalogue, starting)
            tasks.start(serve_gateway(gateway, settings), "gateway")
        if "worker" in roles:
            await _first(stop, worker_ready)
        if not stop.is_set():
            await when_ready(settings)
        await stop.wait()


async def _open_index(stack: AsyncExitStack, settings: Settings, record: Record) -> Index:
    embedder = await asyncio.to_thread(open_embedder, settings)
    index = await stack.enter_async_context(open_index(settings, embedder))
    await index.sync(record)
    return index


def _open_llm(stack: AsyncExitStack, settings: Settings, record: Record) -> Llm | None:
    llm = open_llm(settings, record.cost_since)
    if llm is not None:
        stack.push_async_callback(llm.close)
    return llm


async def up(settings: Settings, when_ready: Ready) -> None:
    """Every role in one process, on embedded parts where the environment names none."""
    async with embedded(settings) as complete:

        async def announce(ready: Settings) -> None:
            endpoints.write(ready)
            await when_ready(ready)

        try:
            await run(complete, ROLES, announce, seed=True)
        finally:
            endpoints.remove(settings.home)


class _Tasks:
    """The roles' tasks. One that ends stops the program; leaving cancels them, newest first, and raises their error."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        failures = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        for task in reversed(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for failure in failures:
            if failure is not None:
                raise failure

    def start(self, role: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(role, name=name)
        task.add_done_callback(lambda _: self._stop.set())
        self._tasks.append(task)


async def _check_rights(settings: Settings, roles: Sequence[str]) -> None:
    """Refuse to start without the rights that the roles need: later it would look like an outage."""
    anomalies, enriched, decisions = settings.topic_anomalies, settings.topic_enriched, settings.topic_decisions
    incidents, feedback, dlq = settings.topic_incidents, settings.topic_feedback, settings.topic_dlq
    needs: dict[str, tuple[list[str], list[str], list[str]]] = {
        "worker": ([anomalies, enriched, incidents, feedback], [enriched, decisions, dlq], [worker.GROUP]),
        "relay": ([decisions, enriched], [], []),
        "slack": ([decisions], [dlq], [slack.GROUP]),
        "gateway": ([], [anomalies, incidents, feedback], []),
    }
    reads, writes, groups = ([name for role in roles for name in needs[role][kind]] for kind in range(3))
    await kafka.check_rights(settings, reads, writes, groups)


async def _seed(record: Record) -> None:
    if (await record.incident_state())[0] == 0:
        incidents = await asyncio.to_thread(read_incidents, SEED)
        await record.upsert_incidents(incidents)
        log.info("seeded", incidents=len(incidents))


async def _keep_level(index: Index, record: Record) -> None:
    while True:
        await asyncio.sleep(SYNC_SECONDS)
        try:
            await index.sync(record)
        except Unavailable as exc:
            log.warning("waiting", system=exc.system, detail=exc.detail)


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            os._exit(130)  # asked twice: at once
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    return stop
