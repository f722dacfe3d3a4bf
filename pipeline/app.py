"""The composition root: opens the parts, starts the roles, and closes everything in reverse. One line after another."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import structlog

from pipeline import endpoints, flow, kafka, metrics, watch, worker
from pipeline.catalogue import load_catalogue
from pipeline.confidence import load_calibration
from pipeline.embedded.broker import embedded_broker
from pipeline.embedded.postgres import embedded_postgres
from pipeline.embedding import open_embedder
from pipeline.errors import Rejected, Unavailable
from pipeline.gateway.app import build as build_gateway
from pipeline.gateway.app import serve_gateway
from pipeline.index import Index, open_index
from pipeline.knowledge import read_incidents
from pipeline.llm import Llm, open_llm
from pipeline.migrations import migrate
from pipeline.settings import ROLES, Settings
from pipeline.sinks import notify
from pipeline.sinks.policy import load_policy
from pipeline.sinks.relay import serve_relay
from pipeline.stages.episodes import Rules
from pipeline.stages.fingerprints import Fingerprints, load_fingerprints
from pipeline.stages.forget import forget
from pipeline.stages.learn import teach
from pipeline.stages.reconsider import Reconsideration
from pipeline.stages.record import Grouping, Record, open_record
from pipeline.stages.rights import check_rights
from pipeline.stages.situations import load_topology

SEED = Path(__file__).parent.parent / "deploy" / "incidents"
CHECK_SECONDS = 15.0
"""How long an episode whose quiet period is over may be called open, and what was accepted and resolved unlearned."""
SYNC_SECONDS = 5.0
"""How long knowledge that another process learned may be missing from this one's index."""
FORGET_SECONDS = 600.0
"""How often a worker looks for what is old enough to delete."""

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
    health = watch.Health()
    async with AsyncExitStack() as stack:
        assert settings.database_url is not None  # noqa: S101 - `settings.required` or `embedded` saw to it
        await migrate(settings.database_url)
        record = await stack.enter_async_context(open_record(settings.database_url))
        settings = replace(settings, kafka_is_embedded=await kafka.is_tansu(settings))
        await kafka.create_topics(settings)
        await _check_rights(settings, record, roles)
        if settings.metrics_port and "gateway" not in roles:
            stack.enter_context(metrics.served(settings.host, settings.metrics_port, health.fault))
        sender = kafka.Sender(settings)
        stack.push_async_callback(sender.close)
        catalogue, calibration = load_catalogue(settings.actions_file), load_calibration(settings.calibration_file)
        (grouping, fingerprints), policy = grouping_of(settings), load_policy(settings.routes_file)
        if seed:
            await _seed(record)
        if {"worker", "gateway"} & set(roles):
            index = await _open_index(stack, settings, record)
            llm = _open_llm(stack, settings, record) if "worker" in roles else None
        if "relay" in roles:
            await stack.enter_async_context(serve_relay(settings))
        _keep_what_is_loaded()
        # After everything that the roles use: what closes first is drained while the rest is still open.
        tasks = await stack.enter_async_context(_Tasks(stop))
        serves = {role: asyncio.Event() for role in ("worker", "gateway") if role in roles}
        places: watch.Places = dict
        if {"worker", "gateway"} & set(roles):
            tasks.start(_regularly(SYNC_SECONDS, lambda: watch.follow(record, index)), "sync")
        if "slack" in roles:
            tasks.start(notify.run_slack(settings, record, sender, policy), "slack")
        if "worker" in roles:
            if settings.kafka_is_embedded:
                await kafka.prime_group(settings, worker.GROUP)
            topic_id = await kafka.topic_id(settings, settings.topic_anomalies)
            faust_app = worker.build(settings)
            flow.lay(
                faust_app,
                flow.Parts(
                    settings, record, index, sender, catalogue, calibration, grouping, fingerprints, llm, topic_id
                ),
            )
            reconsideration = Reconsideration(
                record=record, index=index, sender=sender, calibration=calibration, settings=settings
            )
            _start_chores(tasks, settings, record, sender, reconsideration)
            tasks.start(worker.run(faust_app, serves["worker"]), "worker")
            places = partial(worker.places, faust_app, serves["worker"])
        _start_watch(tasks, settings, record, roles, health, places)
        if "gateway" in roles:
            gateway = build_gateway(
                settings,
                record,
                index,
                sender,
                catalogue,
                {role: ready for role, ready in serves.items() if role != "gateway"},
                grouping.topology,
                fingerprints,
                health.fault,
            )
            tasks.start(serve_gateway(gateway, settings, serves["gateway"]), "gateway")
        for ready in serves.values():
            await _first(stop, ready)
        if not stop.is_set():
            await when_ready(settings)
        await stop.wait()


def _keep_what_is_loaded() -> None:
    """It stays: each full collection would look through it all, for 70 ms, and 250 with litellm."""
    gc.collect()
    gc.freeze()


async def _open_index(stack: AsyncExitStack, settings: Settings, record: Record) -> Index:
    embedder = await asyncio.to_thread(open_embedder, settings)
    index = await stack.enter_async_context(open_index(settings, embedder))
    await watch.follow(record, index)
    return index


def grouping_of(settings: Settings) -> tuple[Grouping, Fingerprints]:
    """How anomalies become episodes and situations here. Raises `Misconfigured` naming the file that is wrong."""
    rules = Rules(
        timedelta(seconds=settings.episode_quiet_seconds),
        timedelta(seconds=settings.episode_reopen_seconds),
        settings.episode_revisions,
    )
    gap = timedelta(seconds=settings.situation_gap_seconds)
    topology = load_topology(settings.topology_file)
    return Grouping(rules, gap, topology), load_fingerprints(settings.fingerprints_file)


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
        for task in reversed(self._tasks):
            task.cancel()
            await asyncio.wait([task])
        for task in self._tasks:
            if not task.cancelled():
                task.result()

    def start(self, role: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(role, name=name)
        task.add_done_callback(lambda _: self._stop.set())
        self._tasks.append(task)


Rights = tuple[list[str], list[str], list[str]]
"""Topics to read, topics to write, consumer groups."""


def rights_of(settings: Settings) -> dict[str, Rights]:
    """What each role may do on Kafka: README.md has it as a table, for who gives them."""
    anomalies, enriched, decisions = settings.topic_anomalies, settings.topic_enriched, settings.topic_decisions
    incidents, feedback, dlq = settings.topic_incidents, settings.topic_feedback, settings.topic_dlq
    return {
        "worker": ([anomalies, enriched, incidents, feedback], [enriched, decisions, incidents, dlq], [worker.GROUP]),
        "relay": ([decisions, enriched], [], []),
        "slack": ([decisions], [dlq], [notify.GROUP]),
        "gateway": ([], [anomalies, incidents, feedback], []),
    }


async def _check_rights(settings: Settings, record: Record, roles: Sequence[str]) -> None:
    """Refuse to start without the rights that the roles need: later it would look like an outage."""
    await check_rights(record, set(roles))
    needs = rights_of(settings)
    reads, writes, groups = ([name for role in roles for name in needs[role][kind]] for kind in range(3))
    await kafka.check_rights(settings, reads, writes, groups)


async def _seed(record: Record) -> None:
    if (await record.incident_state())[0] == 0:
        incidents = await asyncio.to_thread(read_incidents, SEED)
        await record.upsert_incidents(incidents)
        log.info("seeded", incidents=len(incidents))


def _start_chores(
    tasks: _Tasks, settings: Settings, record: Record, sender: kafka.Sender, reconsideration: Reconsideration
) -> None:  # fmt: skip
    """What a worker does beside the stream; several workers doing it disturb each other in nothing."""
    quiet = settings.episode_quiet_seconds
    tasks.start(_regularly(min(CHECK_SECONDS, quiet), lambda: record.close_quiet_episodes(quiet)), "quiet")
    tasks.start(_regularly(CHECK_SECONDS, lambda: teach(record, sender, settings)), "teach")
    tasks.start(_regularly(CHECK_SECONDS, reconsideration, at_once=True), "reconsider")
    if settings.provenance_days:
        kept = timedelta(days=min(settings.provenance_days, 36_500))  # no date is before the first year
        tasks.start(_forget(record, kept), "forget_provenance")
    if settings.retention_days:
        still = timedelta(days=min(settings.retention_days, 36_500))
        tasks.start(_regularly(FORGET_SECONDS, lambda: forget(record, still), at_once=True), "forget")


async def _regularly(seconds: float, work: Callable[[], Awaitable[Any]], *, at_once: bool = False) -> None:
    """Do it every so many seconds; an outage is waited out, and what is refused ends nothing."""
    wait = 0.0 if at_once else seconds
    while True:
        await asyncio.sleep(wait)
        wait = seconds
        try:
            await work()
        except Unavailable as exc:
            log.warning("waiting", system=exc.system, detail=exc.detail)
        except Rejected as exc:
            log.warning("chore_refused", detail=exc.reason)


def _start_watch(
    tasks: _Tasks, settings: Settings, record: Record, roles: Sequence[str], health: watch.Health, places: watch.Places
) -> None:  # fmt: skip
    """What the roles say of themselves; several processes say the same of what is common to them."""
    behind = kafka.Behind(settings)
    look: Callable[[], Awaitable[None]] = partial(_come_round, health)
    if "worker" in roles:
        look = watch.WorkerWatch(health, behind, worker.GROUP, flow.stages(settings), places)
        sum_up = partial(watch.sum_up, record, model=settings.llm_model is not None)
        tasks.start(_regularly(watch.WATCH_SECONDS, sum_up), "sum_up")
    if "slack" in roles:
        sum_up = partial(watch.sum_up_slack, record, behind, notify.GROUP, settings.topic_decisions)
        tasks.start(_regularly(watch.WATCH_SECONDS, sum_up), "sum_up_slack")
    tasks.start(_regularly(watch.WATCH_SECONDS, look), "watch")


async def _come_round(health: watch.Health) -> None:
    """The watch of a process whose roles stall in no way of their own."""
    health.came_round()


async def _forget(record: Record, kept: timedelta) -> None:
    """Delete provenance that is older than it is ``kept``, little by little."""
    while True:
        try:
            deleted = await record.forget_provenance(datetime.now(UTC) - kept)
            metrics.rows_forgotten.labels(table="provenance").inc(deleted)
        except Unavailable as exc:
            log.warning("waiting", system=exc.system, detail=exc.detail)
            deleted = 0
        await asyncio.sleep(SYNC_SECONDS if deleted else FORGET_SECONDS)


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
