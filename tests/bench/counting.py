"""The storm: how fast anomalies are counted into their episodes, beside peers that do the same work."""

import asyncio
from dataclasses import dataclass

from confluent_kafka import KafkaException

from pipeline.worker import GROUP
from tests.bench.cases import case
from tests.bench.environments import NotHere, python_of
from tests.bench.ground import AT_ONCE, COUNTED, READY_SECONDS, Ground, Sent, resident, stop
from tests.bench.load import storm as storm_of
from tests.bench.result import Result
from tests.program import until

STORM, FAULTS, BACKLOG = 200_000, 200, 1_000_000
PEERS, QUIX = "requirements.txt", "requirements-quix.txt"


@dataclass(frozen=True, slots=True)
class Peer:
    """A program of tests/bench/peers and what it runs in."""

    name: str
    module: str
    requirements: str


PEERS_OF_THE_STORM = (
    Peer("confluent-kafka, a loop per event", "confluent_each", PEERS),
    Peer("FastStream, a handler per event", "faststream_each", PEERS),
    Peer("Quix Streams, per event", "quix_each", QUIX),
    Peer("Quix Streams, batching sink", "quix_sink", QUIX),
    Peer("FastStream, a handler per batch", "faststream_batch", PEERS),
    Peer("confluent-kafka, a loop over batches", "confluent_batch", PEERS),
)


@case("anomalies/s")
async def storm(ground: Ground, result: Result) -> None:
    """Many anomalies of 200 fingerprints, already in Kafka, until PostgreSQL says that each is counted and lag is 0."""
    told = await ground.anew()
    topic = told["TOPIC_ANOMALIES"]
    sent = await ground.send(topic, storm_of(ground.many(STORM), ground.many(FAULTS, 20), topic))
    program = await ground.run("worker", told, ready=False)
    found = await ground.measure([program], COUNTED, sent, GROUP)
    await stop(program)
    result.add("ours", "run worker", found.rate, cpu_us=found.cpu_us, note=found.note)
    if not ground.peers:
        return
    for peer in PEERS_OF_THE_STORM:
        await _peer(ground, result, peer, sent)
    await _floor(ground, result, "Faust, raw events acknowledged", ["floor_faust", "events"], sent)
    await _floor(ground, result, "Faust, raw, take(500)", ["floor_faust", "batches"], sent)
    await _floor(ground, result, "confluent-kafka, decodes only", ["floor_decode"], sent)


@case("anomalies/s")
async def workers(ground: Ground, result: Result) -> None:
    """The storm on 1, 2 and 4 worker processes, on four partitions; all have joined before the clock begins."""
    count = ground.many(STORM)
    for number in (1, 2, 4):
        told = await ground.anew()
        topic = told["TOPIC_ANOMALIES"]
        programs = [await ground.run("worker", told) for _ in range(number)]
        await _shared_out(ground, told)
        async with ground.connection.transaction():
            # A gate: nobody can count before it opens, whatever the time that loading the topic takes.
            await ground.connection.execute("LOCK TABLE anomalies IN ACCESS EXCLUSIVE MODE")
            sent = await ground.send(topic, storm_of(count, ground.many(FAULTS, 20), topic))
        found = await ground.measure(programs, COUNTED, sent, GROUP, first=AT_ONCE)
        for program in programs:
            await stop(program)
        name = "1 worker" if number == 1 else f"{number} workers"
        result.add("ours", name, found.rate, cpu_us=found.cpu_us, note=found.note)


@case("MiB")
async def backlog(ground: Ground, result: Result) -> None:
    """A million anomalies of a thousand faults wait in Kafka: a worker's memory after a tenth, and at its highest."""
    told = await ground.anew()
    topic = told["TOPIC_ANOMALIES"]
    sent = await ground.send(topic, storm_of(ground.many(BACKLOG), ground.many(5 * FAULTS, 20), topic))
    program = await ground.run("worker", told, ready=False)

    async def a_tenth() -> bool:
        return await ground.value(COUNTED) >= sent.count / 10

    await until(a_tenth, READY_SECONDS, "a tenth of the backlog")
    early = resident(program)
    found = await ground.measure([program], COUNTED, sent, GROUP)
    result.add("ours", "at its highest", resident(program, "VmHWM"), note=found.note or f"{sent.count:,} anomalies")
    result.add("floor", "after a tenth", early)
    await stop(program)


async def _shared_out(ground: Ground, told: dict[str, str]) -> None:
    """Wait until a record in each partition is counted: the last rebalance is over."""
    warm = await ground.send(told["TOPIC_ANOMALIES"], storm_of(400, 4, "warm"))

    async def counted() -> bool:
        return await ground.value(COUNTED) >= warm.count

    await until(counted, 60, "the first anomalies to be counted")
    await asyncio.sleep(6)  # the embedded broker's joins take half a session each
    await ground.empty()


async def _peer(ground: Ground, result: Result, peer: Peer, sent: Sent) -> None:
    try:
        python = await python_of(peer.requirements)
    except NotHere as exc:
        result.add("peers", peer.name, None, note=str(exc))
        return
    await ground.empty()
    group = f"{peer.module}-{sent.topic}"
    program = ground.spawn([python, "-m", f"tests.bench.peers.{peer.module}"], _told(ground, sent, group))
    try:
        found = await ground.measure([program], COUNTED, sent, group, limit=ground.seconds)
    except (AssertionError, KafkaException) as exc:
        result.add("peers", peer.name, None, note=f"failed: {str(exc).strip().splitlines()[-1][:200]}")
        return
    finally:
        await stop(program)
    result.add("peers", peer.name, found.rate, cpu_us=found.cpu_us, note=found.note)


async def _floor(ground: Ground, result: Result, name: str, command: list[str], sent: Sent) -> None:
    module, *arguments = command
    told = _told(ground, sent, f"{'-'.join(command)}-{sent.topic}") | {"BENCH_EVENTS": str(sent.count)}
    await ground.floor(result, name, [f"tests.bench.peers.{module}", *arguments], told)


def _told(ground: Ground, sent: Sent, group: str) -> dict[str, str]:
    return {
        "BENCH_KAFKA": ground.broker.bootstrap, "BENCH_TOPIC": sent.topic, "BENCH_GROUP": group,
        "BENCH_DATABASE": ground.database,
    }  # fmt: skip
