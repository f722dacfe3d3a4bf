"""What a scenario plays on: real processes of the program, and round them a Kafka, a PostgreSQL, a model and a Slack
that are held here, so that they stay up, or are broken on purpose.
"""

import asyncio
import json
import random
import re
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import web
from confluent_kafka import KafkaException

from pipeline import kafka, settings
from pipeline.knowledge import read_incidents
from pipeline.stages.record import open_record
from tests import brokers
from tests.chaos.database import Database
from tests.chaos.ledger import Account, Found, Ledger, committed, read_topic, republish
from tests.chaos.listener import Listener
from tests.chaos.load import Event
from tests.chaos.proxy import Proxy
from tests.model_server import Behaviour, ModelServer, good, model_server
from tests.program import ROOT, Program, free_port, open_folder, running, until
from tests.slack_server import SlackServer, slack_server

READY_SECONDS = 120.0
SETTLE_SECONDS = 240.0
TOPICS = {
    "TOPIC_ANOMALIES": "anomalies", "TOPIC_ENRICHED": "anomalies.enriched", "TOPIC_DECISIONS": "decisions",
    "TOPIC_DLQ": "anomalies.dlq", "TOPIC_INCIDENTS": "incidents", "TOPIC_FEEDBACK": "feedback",
}  # fmt: skip
_DECISION = re.compile(r"dec_[0-9a-f]{24}")
_UNSURE = {"hang", "reset"}
"""What Slack may have shown although it did not say so."""


@dataclass
class Rig:
    """One run. ``chance`` is seeded: every choice of a scenario comes from it. ``small``: for every day's tests."""

    broker: brokers.Broker
    database: Database
    folder: Path
    stack: AsyncExitStack
    seed: int = 0
    small: bool = False
    minutes: float = 1.0
    line: Proxy | None = None
    """Between the program and Kafka, where the scenario asks for one."""
    environment: dict[str, str] = field(default_factory=dict)
    programs: list[tuple[str, Program]] = field(default_factory=list)
    model: ModelServer | None = None
    mood: Behaviour = good
    slack: SlackServer | None = None
    listener: Listener | None = None
    forgiven: int = 0
    """Messages that Slack may show again: one for each death of the Slack role."""
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before: Found = field(default_factory=Found)
    """What the topics held before the broker lost its memory."""
    memory_lost: bool = False
    """The broker lost what it held: what Kafka itself remembers is no measure any more."""
    healed: float | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        # A Kafka that is not ours may hold topics of these names already.
        mark = f"-chaos-{random.SystemRandom().getrandbits(32):08x}" if self.broker.kind == "given" else ""
        self.topics = {name: name + mark for name in TOPICS.values()}
        self.environment |= {variable: self.topics[name] for variable, name in TOPICS.items()}
        # Each episode a situation, each decision a message, unless a scenario is about them.
        self.environment |= {"SITUATION_GAP_SECONDS": "0", "ROUTES_FILE": str(ROOT / "tests" / "chaos" / "routes.yaml")}
        self.ledger = Ledger(self.broker.bootstrap, self.topics["anomalies"])

    def dice(self, name: str) -> random.Random:
        """A chance of its own for what draws at times of its own, so that the load stays the same for a seed."""
        return random.Random(f"{self.seed}/{name}")

    def many(self, full: int, small: int) -> int:
        """How many: the real number, or that of every day."""
        return small if self.small else full

    def say(self, text: str) -> None:
        """Add a line to the account."""
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def promise(self, holds: object, sentence: str) -> None:
        """Demand more of this scenario than the ledger does."""
        if not holds:
            self.broken.append(sentence)

    def over(self) -> None:
        """The fault has gone: recovery is counted from here."""
        self.healed = time.monotonic()

    # the load

    async def send(self, events: Iterable[Event], *, per_second: float | None = None) -> None:
        """Publish, acknowledged, into the ledger."""
        await self.ledger.publish(events, per_second=per_second)

    async def publish_again(self, topic: str) -> None:
        """Repeat every record that a topic holds, byte for byte."""
        records = await asyncio.to_thread(read_topic, self.broker.bootstrap, self.topics[topic])
        await republish(self.broker.bootstrap, records)

    @asynccontextmanager
    async def sending(self, events: Iterable[Event], per_second: float) -> AsyncIterator[None]:
        """Publish while the body runs, and to the end of ``events``, which are drawn before the body draws anything."""
        drawn = list(events)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ledger.publish(drawn, per_second=per_second, seconds=120))
            yield

    async def forget(self) -> None:
        """The broker is about to lose its memory: of what it acknowledged only what is settled by now counts.

        What the topics held is remembered here in its place.
        """
        self.before = await self.found()
        kept = self.before.anomalies
        self.memory_lost = True
        gone = [e for e in self.ledger.entries if e.event.id not in kept and e.where not in self.before.letters]
        self.ledger.entries = [entry for entry in self.ledger.entries if entry not in gone]
        self.say(f"the broker forgets {len(gone)} records that were not settled yet")

    # the program

    async def run(self, role: str, *, wait: bool = True, **environment: str) -> Program:
        """Start ``pulseguard run ROLE``; returns when it says that it is ready."""
        number = sum(name == role for name, _ in self.programs) + 1
        log = self.folder / f"{role}-{number}.log"
        program = await self.stack.enter_async_context(running(["run", role], self.environment | environment, log))
        self.programs.append((role, program))
        if wait:
            await self.ready(role, program)
        return program

    async def ready(self, role: str, program: Program) -> None:
        """Wait for the program to say that it is ready."""
        await program.says(f"ready: {role}", READY_SECONDS)

    async def worker(self, *, wait: bool = True, **environment: str) -> Program:
        return await self.run("worker", wait=wait, **environment)

    def kill(self, program: Program) -> None:
        """kill -9. The death of a Slack role may repeat the one message that it was at."""
        self.forgiven += next(role for role, each in self.programs if each is program) == "slack"
        program.kill()

    async def terminate(self, program: Program) -> float:
        """SIGTERM; returns how many seconds it took to end, which it has to do with code 0."""
        began = time.monotonic()
        code = await program.stop(signal.SIGTERM, 60)
        self.promise(code == 0, f"SIGTERM ended the program with code {code}")
        return time.monotonic() - began

    # what stands round it

    async def with_model(self, mood: Behaviour, *, in_flight: int = 64, limit: float = 10) -> ModelServer:
        """Let a played model decide; ``mood`` can be changed at any time, and ``limit`` is in seconds."""
        self.mood = mood

        async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
            return await self.mood(request, question, count)

        self.model = await self.stack.enter_async_context(model_server(behave))
        self.environment |= {
            "LLM_MODEL": "openai/played", "LLM_API_BASE": self.model.url, "LLM_IN_FLIGHT": str(in_flight),
            # The faults are the subject here: no circuit that opens, so each one meets a decision.
            "LLM_TIMEOUT": str(limit), "LLM_BREAKER_FAILURES": "0",
        }  # fmt: skip
        return self.model

    async def with_slack(self, *script: str, bot: bool = False) -> SlackServer:
        """Let a played Slack take the messages."""
        self.slack = await self.stack.enter_async_context(slack_server(*script))
        self.environment |= (
            {"SLACK_BOT_TOKEN": "played", "SLACK_CHANNEL": "C1", "SLACK_API_URL": self.slack.api}
            if bot
            else {"SLACK_WEBHOOK_URL": self.slack.webhook}
        )
        return self.slack

    async def with_relay(self) -> Listener:
        """Start a relay, and a client that comes back whenever it is cut off."""
        port = free_port()
        await self.run("relay", RELAY_PORT=str(port))
        self.listener = Listener(self.feed_url(port))
        self.stack.push_async_callback(self.listener.vanish)
        await self.listener.listen()
        return self.listener

    def feed_url(self, port: int) -> str:
        self.relay_port = port
        return f"ws://127.0.0.1:{port}/ws/incidents"

    # waiting for the thing itself

    async def anomalies(self, count: int) -> None:
        """Wait until so many anomalies are in the table."""
        await self._reached("SELECT count(*) FROM anomalies", count, "anomalies in the table")

    async def decisions(self, count: int) -> None:
        """Wait until so many decisions are in the table."""
        await self._reached("SELECT count(*) FROM decisions", count, "decisions in the table")

    async def idle(self) -> None:
        """Wait until everything that was sent is acknowledged."""
        await self.wait(self._caught_up, SETTLE_SECONDS, "an idle worker")

    async def _reached(self, query: str, count: int, what: str) -> None:
        async def reached() -> bool:
            return int(await self.database.value(query)) >= count

        await self.wait(reached, SETTLE_SECONDS, f"{count} {what}")

    async def wait(self, holds: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        """Wait until it holds; what the programs said last is in the error. One that died by itself ends the wait."""

        async def holds_or_died() -> bool:
            dead = [role for role, program in self.programs if (program.process.poll() or 0) > 0]
            assert not dead, f"{dead[0]} died by itself"
            return await holds()

        try:
            await until(holds_or_died, seconds, what)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.last_words()}") from None

    def last_words(self) -> str:
        """The ends of the programs' logs."""
        return "\n".join(f"--- {role}\n{program.output[-2500:]}" for role, program in self.programs)

    # the end

    async def settle(self, seconds: float = SETTLE_SECONDS) -> Account:
        """Compare until nothing is missing and everything is acknowledged, or the time is up; the last comparison."""
        deadline = time.monotonic() + seconds
        while True:
            account = await self._look()
            if account is not None and not account.lost and await self._caught_up():
                account = await self._look() or account  # what a late redelivery did is in there
                break
            if time.monotonic() > deadline:
                sent = len(self.ledger.entries)
                account = account or Account(sent=sent, lost=sent, broken=["nothing could be read"])
                account.broken.append(f"not settled within {seconds:g} s")
                break
            await asyncio.sleep(0.5)
        for role, program in self.programs:
            if "stage_bug" in program.output:
                account.broken.append(f"a bug in {role}: see its log")
        account.broken += self.broken
        return account

    async def _look(self) -> Account | None:
        try:
            found = await self.found()
        except (KafkaException, KeyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None  # a part of it is not back yet
        repeats = self.forgiven + sum(word in _UNSURE for word in (self.slack.answers if self.slack else []))
        return self.ledger.compare(found, forgiven_messages=repeats)

    async def found(self) -> Found:
        """Look at every end."""
        found = Found()
        async with self.database.connection() as connection, connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch("SELECT id, episode_id, body->>'status' AS status FROM anomalies")
            episodes = await connection.fetch("SELECT id, service, error_type, revision, occurrences FROM episodes")
            decisions = await connection.fetch("SELECT id, episode_id, revision, published FROM decisions")
        found.anomalies = {row["id"] for row in rows}
        firing = Counter(row["episode_id"] for row in rows if row["status"] != "resolved")
        occurrences, counted = defaultdict(list), defaultdict(list)
        for row in episodes:
            fault = f"{row['service']}/{row['error_type']}"
            occurrences[fault].append(row["occurrences"])
            counted[fault].append(firing[row["id"]])
            found.episodes += [(row["id"], number) for number in range(1, row["revision"] + 1)]
        found.occurrences, found.counted = dict(occurrences), dict(counted)
        found.decisions = [
            (row["id"], row["episode_id"], row["revision"], bytes(row["published"])) for row in decisions
        ]
        found.published = {name: list(bodies) for name, bodies in self.before.published.items()}
        found.letters = dict(self.before.letters)
        await self._read_topics(found)
        if self.listener is not None:
            found.feed = {name: list(bodies) for name, bodies in self.listener.shown.items()}
        if self.slack is not None:
            found.shown = shown(self.slack)
        return found

    async def _read_topics(self, found: Found) -> None:
        for record in await asyncio.to_thread(read_topic, self.broker.bootstrap, self.topics["decisions"]):
            found.published.setdefault(json.loads(record.value())["id"], []).append(record.value())
        for record in await asyncio.to_thread(read_topic, self.broker.bootstrap, self.topics["anomalies.dlq"]):
            says = {name: value.decode() for name, value in record.headers()}
            where = (says["pulseguard_topic"], int(says["pulseguard_partition"]), int(says["pulseguard_offset"]))
            if says["pulseguard_reason"] == "refused":
                found.refused.add(json.loads(record.value())["id"])
            else:
                found.letters.setdefault(where, []).append(record.value())

    async def _caught_up(self) -> bool:
        """Whether the workers have acknowledged every record of the ledger."""
        ends = self.ledger.ends()
        if self.memory_lost or not ends:
            return True
        try:
            at = await asyncio.to_thread(
                committed, self.broker.bootstrap, "pulseguard", self.topics["anomalies"], sorted(ends)
            )
        except KafkaException:
            return False
        return all(at[number] >= end for number, end in ends.items())


def shown(slack: SlackServer) -> Counter[str]:
    """Decision id → how often Slack showed it, counting against us what it may have shown without saying so.

    A message that comes twice is one repetition, however many decisions it tells of: one of its ids stands for it.
    """
    counts: Counter[str] = Counter()
    messages: set[frozenset[str]] = set()
    for (_, body), word in zip(slack.posts, slack.answers, strict=False):
        if word in {"ok", "slow"} or word in _UNSURE:
            told = frozenset(_DECISION.findall(json.dumps(body)))
            counts.update(told if told not in messages else sorted(told)[:1])
            messages.add(told)
    return counts


@asynccontextmanager
async def rigged(
    kind: str, seed: int, *, small: bool, minutes: float = 1.0, proxied: bool = False
) -> AsyncIterator[Rig]:
    """A rig with nothing of the program running yet. ``proxied``: Kafka's clients, but the ledger's, meet a proxy."""
    folder = open_folder()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = await stack.enter_async_context(Database(folder))
        broker, line = await _kafka(stack, kind, proxied=proxied)
        rig = Rig(broker, database, folder, stack, seed, small, minutes, line)
        rig.environment |= broker.environment | {
            "PULSEGUARD_HOME": str(folder / "home"), "DATABASE_URL": database.url, "COLUMNS": "200",
            "KAFKA_SESSION_SECONDS": "10",
        }  # fmt: skip
        (folder / "home").mkdir()
        await kafka.create_topics(settings.read(rig.environment))  # producers may come before the program
        async with open_record(database.url) as record:
            await record.upsert_incidents(await asyncio.to_thread(read_incidents, ROOT / "deploy" / "incidents"))
        yield rig


async def _kafka(stack: AsyncExitStack, kind: str, *, proxied: bool) -> tuple[brokers.Broker, Proxy | None]:
    if not proxied:
        broker = brokers.make(kind)
        await stack.enter_async_context(brokers.running(broker))
        return broker, None
    from tests.chaos.proxied import behind_proxy

    broker, line = behind_proxy(kind)
    await stack.enter_async_context(line)
    await stack.enter_async_context(brokers.running(broker))
    return broker, line
