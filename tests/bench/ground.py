"""What every contestant stands on: one broker, one PostgreSQL, the same records; and how they are measured."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import KafkaException, Producer

from pipeline import kafka, settings
from pipeline.embedded.child import dies_with_parent
from pipeline.embedded.postgres import embedded_postgres
from pipeline.knowledge import read_incidents
from pipeline.migrations import migrate
from pipeline.stages.record import open_record
from tests import brokers
from tests.bench.result import Result
from tests.chaos.ledger import committed
from tests.program import ROOT, Program, free_port, open_folder, running, until

READY_SECONDS = 120.0
LEVEL_SECONDS = 60.0
OURS_SECONDS = 300.0
POLL = 0.05
TABLES = (
    "anomalies, episodes, revisions, situation_keys, decisions, provenance, feedback, notifications, messages, progress"
)
COUNTED = "SELECT coalesce(sum(occurrences), 0)::bigint FROM episodes"
ARRIVED = "SELECT count(*) FROM (SELECT FROM anomalies LIMIT 1) AS one"
AT_ONCE = "SELECT 1"
DECIDED = "SELECT count(*) FROM decisions"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sent:
    """What a topic holds: how many records, and where each partition ends."""

    topic: str
    count: int
    ends: dict[int, int]


@dataclass(frozen=True, slots=True)
class Measured:
    """How a contestant did: events a second from the last look that saw none, processor time an event (of its own
    processes, not of the services), and how many of how many it did in the time it had.
    """

    rate: float
    cpu_us: float
    done: int
    sent: int
    level: bool
    """It did all, exactly, and acknowledged all."""

    @property
    def note(self) -> str:
        """What a reader has to know beside the rate; nothing where all is well."""
        if self.done < self.sent:
            return f"{self.done:,} of {self.sent:,} in its time"
        if self.done > self.sent:
            return f"counted {self.done:,}, and {self.sent:,} were sent"
        return "" if self.level else f"all {self.sent:,} counted, but lag is not 0"


@dataclass
class Ground:
    """The services of a run. Every contest gets topics of its own and empty tables."""

    broker: brokers.Broker
    database: str
    folder: Path
    stack: AsyncExitStack
    connection: Any
    scale: float = 1.0
    peers: bool = True
    seconds: float = 30.0
    """How long a peer may take before it is judged by what it did till then."""
    environment: dict[str, str] = field(default_factory=dict)
    _runs: int = 0

    def many(self, full: int, least: int = 100) -> int:
        """How many, at this scale."""
        return max(int(full * self.scale), least)

    async def anew(self, **environment: str) -> dict[str, str]:
        """Empty tables, new topics; returns what the program has to be told of them."""
        self._runs += 1
        names = ("ANOMALIES", "ENRICHED", "DECISIONS", "DLQ", "INCIDENTS", "FEEDBACK")
        told = self.environment | {f"TOPIC_{name}": f"{name.lower()}-{self._runs}" for name in names} | environment
        await self.connection.execute(f"TRUNCATE {TABLES}")
        await self.connection.execute("CHECKPOINT")
        await kafka.create_topics(settings.read(told))
        return told

    def topic(self) -> str:
        """The topic of anomalies that this contest has, or will have."""
        return f"anomalies-{max(self._runs, 1)}"

    async def empty(self) -> None:
        """Empty the tables, and let the next contestant begin with nothing left to write."""
        await self.connection.execute(f"TRUNCATE {TABLES}")
        await self.connection.execute("CHECKPOINT")

    async def send(self, topic: str, values: Iterable[bytes]) -> Sent:
        """Publish, acknowledged."""
        return await asyncio.to_thread(self._send, topic, values)

    def _send(self, topic: str, values: Iterable[bytes]) -> Sent:
        ends: dict[int, int] = {}

        def delivered(error: Any, record: Any) -> None:
            assert error is None, error
            ends[record.partition()] = max(ends.get(record.partition(), 0), record.offset() + 1)

        producer = Producer(
            {
                "bootstrap.servers": self.broker.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 20,
                "queue.buffering.max.messages": 500_000, "log_level": 0,
                "partitioner": "random", "sticky.partitioning.linger.ms": 0,
            }
        )  # fmt: skip
        count = 0
        for count, value in enumerate(values, 1):
            producer.produce(topic, value, on_delivery=delivered)
            if count % 1000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0
        return Sent(topic, count, ends)

    # the program, and programs beside it

    async def run(self, role: str, told: Mapping[str, str], *, ready: bool = True) -> Program:
        """Start ``pulseguard run ROLE``; returns when it is ready."""
        log = self.folder / f"{role}-{len(list(self.folder.glob('*.log')))}.log"
        program = await self.stack.enter_async_context(running(["run", role], dict(told), log))
        if ready:
            await program.says(f"ready: {role}", READY_SECONDS)
        return program

    def spawn(self, command: Sequence[str], told: Mapping[str, str]) -> Program:
        """Start another program; its output is kept."""
        log = self.folder / f"other-{len(list(self.folder.glob('*.log')))}.log"
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(ROOT)}
        with log.open("ab") as out:
            process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=environment | dict(told),
                preexec_fn=dies_with_parent(),  # noqa: PLW1509
            )  # fmt: skip
        program = Program(process, log)
        self.stack.callback(_end, process)
        return program

    async def floor(self, result: Result, name: str, module: Sequence[str], told: Mapping[str, str]) -> None:
        """Run a module of ours that measures itself, and says so in its last line."""
        program = self.spawn([sys.executable, "-m", *module], told)
        try:
            code = await asyncio.to_thread(program.process.wait, OURS_SECONDS)
            said = json.loads(program.output.strip().splitlines()[-1])
            assert code == 0
            result.add("floor", name, said["rate"], cpu_us=said["cpu_us"])
        except (subprocess.TimeoutExpired, AssertionError, ValueError, LookupError):
            result.add("floor", name, None, note=f"failed: {program.output.strip()[-200:]}")
        finally:
            await stop(program)

    async def value(self, query: str) -> int:
        return int(await self.connection.fetchval(query))

    async def measure(
        self, programs: Sequence[Program], query: str, sent: Sent, group: str, *, limit: float = OURS_SECONDS,
        first: str = ARRIVED,
    ) -> Measured:  # fmt: skip
        """Look until all is counted, the time is up, or a contestant died. All counted: wait for its offsets too.

        The clock begins with the last look at which ``first`` was 0, so that a start costs nobody time.
        """
        asked = time.perf_counter()
        began, cpu = asked, cpu_of(programs)
        while not await self.value(first):
            alive(programs)
            began, cpu = time.perf_counter(), cpu_of(programs)
            assert began - asked < READY_SECONDS, f"nothing was counted:\n{programs[0].output[-3000:]}"
            await asyncio.sleep(POLL)
        while True:
            now = await self.value(query)
            seconds, spent = time.perf_counter() - began, cpu_of(programs) - cpu
            if now >= sent.count or seconds > limit:
                break
            alive(programs)
            await asyncio.sleep(POLL)
        done = max(now, 1)
        level = now == sent.count and await self._level(sent, group)
        return Measured(done / max(seconds, POLL), spent / done * 1e6, now, sent.count, level)

    async def _level(self, sent: Sent, group: str) -> bool:
        async def caught_up() -> bool:
            try:
                at = await asyncio.to_thread(committed, self.broker.bootstrap, group, sent.topic, sorted(sent.ends))
            except KafkaException:
                return False
            return all(at[number] >= end for number, end in sent.ends.items())

        try:
            await until(caught_up, LEVEL_SECONDS, "lag 0")
        except AssertionError:
            return False
        return True


def cpu_of(programs: Sequence[Program]) -> float:
    """Processor seconds that the programs have used, all threads."""
    spent = 0
    for program in programs:
        fields = Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / _TICKS


def resident(program: Program, field: str = "VmRSS") -> float:
    """MiB of memory that it holds, or, with ``VmHWM``, the most that it ever held."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{field}:"))


def alive(programs: Sequence[Program]) -> None:
    """Fail with what it said last, if one of them has died."""
    for program in programs:
        assert program.process.poll() is None, f"it died:\n{program.output[-3000:]}"


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


async def stop(program: Program) -> None:
    """Ask it to end, and wait until it has."""
    if program.process.poll() is None:
        program.process.terminate()
        try:
            await asyncio.to_thread(program.process.wait, 20)
        except subprocess.TimeoutExpired:
            _end(program.process)


@asynccontextmanager
async def opened(kind: str, *, scale: float, peers: bool, seconds: float) -> AsyncIterator[Ground]:
    """The services, with the example incidents as knowledge."""
    folder = open_folder()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = await stack.enter_async_context(embedded_postgres(folder, free_port()))
        await migrate(database)
        broker = brokers.make(kind)
        await stack.enter_async_context(brokers.running(broker))
        async with open_record(database) as record:
            await record.upsert_incidents(await asyncio.to_thread(read_incidents, ROOT / "deploy" / "incidents"))
        connection = await asyncpg.connect(database, timeout=20)
        stack.push_async_callback(connection.close)
        (folder / "home").mkdir()
        environment = broker.environment | {
            "PULSEGUARD_HOME": str(folder / "home"), "DATABASE_URL": database, "COLUMNS": "200",
            "KAFKA_SESSION_SECONDS": "10",
        }  # fmt: skip
        yield Ground(broker, database, folder, stack, connection, scale, peers, seconds, environment)
