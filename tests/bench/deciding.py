"""Decisions: how many a second, by the rule and by a model; and how long one takes while others are under way."""

import asyncio
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.embedded.model import bundled_model, packaged_model
from pipeline.worker import GROUP
from tests.bench.cases import case
from tests.bench.ground import DECIDED, Ground, Measured, stop
from tests.bench.load import distinct
from tests.bench.result import Kind, Result
from tests.model_server import model_server, slow
from tests.program import Program, until

UNIQUE, WITH_MODEL, IN_FLIGHT, MODEL_SECONDS = 5000, 2000, 256, 0.5
EMBEDDED_ALONE = 2000
BURST, IDLE, IDLE_RATE, HALF = 1000, 300, 5.0, 2000


@case("decisions/s")
async def unique(ground: Ground, result: Result) -> None:
    """Anomalies that are all different, already in Kafka, until each has its decision; the nearest-incident rule."""
    await _embedding(ground, result, "before")
    found = await _decided(ground, ground.many(UNIQUE), {})
    result.add("ours", "run worker, nearest", found.rate, cpu_us=found.cpu_us, note=found.note)
    await _embedding(ground, result, "after")
    told = {"EMBEDDING_MODEL": str(_in_floats(ground.folder))}
    await _embedding(ground, result, "in floats, as its package ships it", told)


@case("decisions/s")
async def model(ground: Ground, result: Result) -> None:
    """Different anomalies and a model that takes 500 ms, 256 in flight; the floor is in-flight calls by their time."""
    async with model_server(slow(MODEL_SECONDS)) as server:
        told = {
            "LLM_MODEL": "openai/played", "LLM_API_BASE": server.url, "OPENAI_API_KEY": "played",
            "LLM_IN_FLIGHT": str(IN_FLIGHT),
        }  # fmt: skip
        found = await _decided(ground, ground.many(WITH_MODEL), told)
        by_model = await ground.value("SELECT count(*) FROM decisions WHERE engine = 'llm'")
        note = found.note or ("" if by_model == found.done else f"the model decided {by_model:,} of {found.done:,}")
        result.add("ours", "run worker, llm", found.rate, cpu_us=found.cpu_us, note=note)
        asked = ground.folder / "question.json"
        asked.write_text(json.dumps(server.asked[-1]))
        alone = ["tests.bench.litellm_floor", str(asked), str(ground.many(WITH_MODEL))]
        await ground.floor(result, "litellm alone, as many in flight", alone, told)
    result.add("floor", f"{IN_FLIGHT} in flight / {MODEL_SECONDS:g} s", IN_FLIGHT / MODEL_SECONDS)
    await _embedding(ground, result, "after")


@case("ms")
async def latency(ground: Ground, result: Result) -> None:
    """From the moment an anomaly is due to be sent until its decision is on the topic: at half load, and idle."""
    told = await ground.anew()
    topic = told["TOPIC_ANOMALIES"]
    program = await ground.run("worker", told)
    with _watched(ground, told["TOPIC_DECISIONS"]) as arrived:
        before = await _saturated(ground, topic, program)
        idle = await _paced(ground, topic, "idle", ground.many(IDLE, 20), IDLE_RATE, arrived)
        rate = before.rate / 2
        half = await _paced(ground, topic, "half", ground.many(HALF), rate, arrived)
        await ground.empty()
        after = await _saturated(ground, topic, program)
    await stop(program)
    result.against = "p99 at half load"
    paced: list[tuple[Kind, str, list[float], float]] = [
        ("ours", "at half load", half, rate), ("floor", "idle", idle, IDLE_RATE)
    ]  # fmt: skip
    for kind, when, times, per_second in paced:
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            note = f"of {len(times):,}, {per_second:.0f} a second"
            if name == "p50" and times is half:  # other work on the machine makes half a load more than half
                note += f"; saturated at {before.rate:.0f}/s before and {after.rate:.0f}/s after"
            compared = f"{name} {when}" == "p99 idle"
            result.add(kind, f"{name} {when}", percentile(times, share), note=note, compared=compared)


async def _saturated(ground: Ground, topic: str, program: Program) -> Measured:
    mark = f"{topic}-burst-{time.monotonic_ns()}"
    sent = await ground.send(topic, distinct(ground.many(BURST), mark))
    return await ground.measure([program], DECIDED, sent, GROUP)


async def _decided(ground: Ground, count: int, environment: dict[str, str]) -> Measured:
    told = await ground.anew(**environment)
    topic = told["TOPIC_ANOMALIES"]
    sent = await ground.send(topic, distinct(count, topic))
    program = await ground.run("worker", told, ready=False)
    found = await ground.measure([program], DECIDED, sent, GROUP)
    await stop(program)
    return found


async def _embedding(ground: Ground, result: Result, when: str, more: Mapping[str, str] | None = None) -> None:
    """Before and after ours: what else the machine does changes meanwhile."""
    told = {"PULSEGUARD_HOME": str(ground.folder / "home"), **(more or {})}
    module = ["tests.bench.embedding_floor", ground.topic(), str(ground.many(EMBEDDED_ALONE))]
    await ground.floor(result, f"the embedding model alone, {when}", module, told)


def _in_floats(folder: Path) -> Path:
    """The bundled model as its package ships it, which is what plain fastembed would run."""
    floats = shutil.copytree(bundled_model(folder / "home"), folder / "floats", dirs_exist_ok=True)
    shutil.copy(packaged_model(), floats / "model.onnx")
    return floats


async def _paced(
    ground: Ground, topic: str, mark: str, count: int, rate: float, arrived: dict[str, float]
) -> list[float]:  # fmt: skip
    """Milliseconds of each, from the time it was due, not from when we came to send it: a stall counts in full."""
    producer = Producer({"bootstrap.servers": ground.broker.bootstrap, "acks": "all", "linger.ms": 0, "log_level": 0})
    mark = f"{topic}-{mark}"
    due: dict[str, float] = {}
    began = time.monotonic() + 0.5
    for number, value in enumerate(distinct(count, mark)):
        when = due[f"{mark}-{number}"] = began + number / rate
        await asyncio.sleep(max(when - time.monotonic(), 0))
        producer.produce(topic, value)
        producer.poll(0)

    async def all_there() -> bool:
        return due.keys() <= arrived.keys()

    await asyncio.to_thread(producer.flush, 30)
    await until(all_there, 120, f"{count} decisions on the topic")
    return sorted((arrived[name] - when) * 1000 for name, when in due.items())


@contextmanager
def _watched(ground: Ground, topic: str) -> Iterator[dict[str, float]]:
    """Anomaly's id → when its decision was first seen on the topic, while the body runs."""
    arrived: dict[str, float] = {}
    over = Event()
    consumer = Consumer({"bootstrap.servers": ground.broker.bootstrap, "group.id": "watch", "fetch.wait.max.ms": 10})
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])

    def watch() -> None:
        while not over.is_set():
            record = consumer.poll(0.1)
            if record is not None and record.error() is None:
                arrived.setdefault(json.loads(record.value())["anomaly_id"], time.monotonic())
        consumer.close()

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield arrived
    finally:
        over.set()
        thread.join(10)


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that so large a share is not above."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
