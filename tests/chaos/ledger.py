"""The ledger: what Kafka acknowledged, and what has to be there because of it. It shares no code with the pipeline.

`Ledger.publish` writes down every record that Kafka acknowledged. `expected` works out, from these records alone, the
episodes that they make. `compare` holds that against what was found in PostgreSQL, on the topics, on the websocket
feed and at Slack.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.chaos.load import Event

CLIENT = "ledger"
"""The client.id of every client of the ledger's: proxies let it through."""
QUIET_MS, REOPEN_MS = 900_000, 600_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A record that Kafka acknowledged, and where it lies. ``timestamp`` is Kafka's."""

    event: Event
    topic: str
    partition: int
    offset: int
    timestamp: int

    @property
    def where(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


@dataclass
class Found:
    """What a look at all ends has found."""

    anomalies: set[str] = field(default_factory=set)
    occurrences: dict[str, list[int]] = field(default_factory=dict)
    """Fault → the occurrences of each of its episodes, as the table has them."""
    counted: dict[str, list[int]] = field(default_factory=dict)
    """Fault → how many firing anomalies' rows each of its episodes has: equal to the above, or one of them lies."""
    episodes: list[tuple[str, int]] = field(default_factory=list)
    decisions: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    """(id, episode, revision, published bytes) of each row."""
    published: dict[str, list[bytes]] = field(default_factory=dict)
    """Decision id → every body on the topic, in order."""
    letters: dict[tuple[str, int, int], list[bytes | None]] = field(default_factory=dict)
    """Origin of a dead letter → the bytes of each."""
    feed: dict[str, list[str]] | None = None
    """Decision id → every body that a websocket client was sent; None: nobody listened."""
    shown: Counter[str] | None = None
    """Decision id → how often Slack showed it; None: nobody posts."""
    refused: set[str] = field(default_factory=set)
    """Decisions that Slack refused for good."""


@dataclass
class Account:
    """The comparison. ``broken`` are the promises that do not hold, each a sentence."""

    sent: int = 0
    settled: int = 0
    lost: int = 0
    extra_occurrences: int = 0
    duplicate_decisions: int = 0
    duplicate_messages: int = 0
    seen_again: int = 0
    """Records on `decisions` whose id was there before: allowed, at least once."""
    broken: list[str] = field(default_factory=list)

    def miss(self, count: int, what: str) -> None:
        """Something that was acknowledged has no effect."""
        self.lost += count
        if count:
            self.broken.append(f"{count} {what}")


class Ledger:
    """Publishes to Kafka with acks=all and remembers what was acknowledged."""

    def __init__(self, bootstrap: str, topic: str = "anomalies", quiet_ms: int = QUIET_MS) -> None:
        self.entries: list[Entry] = []
        self.refused: list[Event] = []
        """What Kafka did not acknowledge: it may be there or not, and nothing is promised."""
        self._bootstrap = bootstrap
        self._topic = topic
        self._quiet_ms = quiet_ms
        self._reopen_ms = REOPEN_MS

    async def publish(self, events: Iterable[Event], *, seconds: float = 60, per_second: float | None = None) -> None:
        """Publish and wait for the acknowledgements. ``per_second`` paces it; without, as fast as Kafka takes it."""
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap, "client.id": CLIENT, "acks": "all", "enable.idempotence": True,
                "linger.ms": 5, "message.timeout.ms": int(seconds * 1000), "log_level": 0,
                "error_cb": lambda _: None, "message.max.bytes": 10_000_000,
            }
        )  # fmt: skip
        for number, event in enumerate(events):
            self._produce(producer, event)
            if per_second is not None:
                await asyncio.sleep(1 / per_second)
                producer.poll(0)
            elif number % 200 == 0:
                producer.poll(0)
                await asyncio.sleep(0)
        await asyncio.to_thread(producer.flush, seconds + 5)

    def _produce(self, producer: Producer, event: Event) -> None:
        def delivered(error: KafkaError | None, record: Any) -> None:
            if error is None:
                where = (record.topic(), record.partition(), record.offset())
                self.entries.append(Entry(event, *where, record.timestamp()[1]))
            else:
                self.refused.append(event)

        producer.produce(self._topic, event.value, event.key, on_delivery=delivered, timestamp=event.timestamp)

    def forget(self) -> list[Entry]:
        """Strike out every entry: the broker has lost its memory. Returns them."""
        gone, self.entries = self.entries, []
        return gone

    @property
    def good(self) -> dict[str, Entry]:
        """The anomalies by id, each as it came first."""
        return {entry.event.id: entry for entry in reversed(self.entries) if entry.event.id is not None}

    @property
    def poison(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.event.id is None]

    def ends(self) -> dict[int, int]:
        """Partition → one past the last acknowledged offset."""
        ends: dict[int, int] = {}
        for entry in self.entries:
            ends[entry.partition] = max(ends.get(entry.partition, 0), entry.offset + 1)
        return ends

    def expected(self) -> dict[str, list[int]]:
        """Fault → the occurrences of its episodes, in ascending order.

        Follows each fault through its records in the order of offsets, which is the order that counts within a
        partition. Faults that are resolved, or whose clock jumps, are published with a key for that reason.
        """
        seen: set[str] = set()
        ended: dict[str, int] = {}  # when it was resolved
        lives: dict[str, list[int]] = defaultdict(list)
        last: dict[str, int] = {}
        for entry in sorted(self.entries, key=lambda item: (item.partition, item.offset)):
            event = entry.event
            if event.id is None or event.id in seen:
                continue
            seen.add(event.id)
            before = last.get(event.fault)
            if before is not None and entry.timestamp - before > self._quiet_ms:
                before = None
            if event.resolved:
                if before is not None:
                    ended[event.fault] = last[event.fault] = max(before, entry.timestamp)
                continue
            resolved = ended.pop(event.fault, None)
            if before is not None and resolved is not None and entry.timestamp - resolved > self._reopen_ms:
                before = None
            if before is None:
                lives[event.fault].append(0)
            lives[event.fault][-1] += 1
            last[event.fault] = max(before or 0, entry.timestamp)
        return {fault: sorted(counts) for fault, counts in lives.items()}

    def compare(self, found: Found, *, forgiven_messages: int = 0) -> Account:
        """Hold what was found against what was acknowledged. ``forgiven_messages``: repeats that Slack may show."""
        named = {name for name, entry in self.good.items() if not entry.event.nameless}
        nameless = len(self.good) - len(named)
        expected = self.expected()
        account = Account(sent=len(self.entries))
        missing = named - found.anomalies
        account.miss(len(missing), f"anomalies are in no table, such as {sorted(missing)[:3]}")
        strange = found.anomalies - named - {event.id for event in self.refused}
        account.miss(max(nameless - len(strange), 0), "anomalies without an id are in no table")
        if len(strange) > nameless:
            account.broken.append(f"{len(strange) - nameless} anomalies that nobody sent")
        self._count(account, found, expected)
        self._decisions(account, found)
        self._letters(account, found)
        self._feed(account, found)
        self._slack(account, found, forgiven_messages)
        poison = sum(entry.where in found.letters for entry in self.poison)
        told = sum(entry.event.id in found.anomalies for entry in self.entries if entry.event.id)
        account.settled = told + min(nameless, len(strange)) + poison
        return account

    def _count(self, account: Account, found: Found, expected: dict[str, list[int]]) -> None:
        unsure = {event.fault for event in self.refused}  # what was not acknowledged may have been written
        for fault in expected.keys() | found.occurrences.keys():
            want, have = sum(expected.get(fault, [])), sum(found.occurrences.get(fault, []))
            if fault in unsure:
                continue
            if have > want:
                account.extra_occurrences += have - want
                account.broken.append(f"{fault} counts {have} occurrences, and {want} were sent")
            account.miss(max(want - have, 0), f"occurrences of {fault} are not counted")
            if have == want and expected.get(fault, []) != sorted(found.occurrences.get(fault, [])):
                account.broken.append(
                    f"{fault} has episodes of {found.occurrences.get(fault)}, and not of {expected.get(fault)}"
                )
        for fault, counts in found.occurrences.items():
            if sorted(counts) != sorted(found.counted.get(fault, [])):
                account.broken.append(f"{fault} counts {counts}, and has rows for {found.counted.get(fault)}")

    def _decisions(self, account: Account, found: Found) -> None:
        decided = Counter((episode, revision) for _, episode, revision, _ in found.decisions)
        undecided = [key for key in found.episodes if key not in decided]
        account.miss(len(undecided), f"episodes have no decision, such as {undecided[:3]}")
        account.duplicate_decisions = sum(count - 1 for count in decided.values())
        if account.duplicate_decisions:
            account.broken.append(f"{account.duplicate_decisions} episodes' revisions are decided twice")
        rows = {name: body for name, _, _, body in found.decisions}
        unpublished = rows.keys() - found.published.keys()
        account.miss(len(unpublished), f"decisions are not on the topic, such as {sorted(unpublished)[:3]}")
        for name, bodies in found.published.items():
            account.seen_again += len(bodies) - 1
            if len(set(bodies)) > 1 or (name in rows and bodies[0] != rows[name]):
                account.duplicate_decisions += 1
                account.broken.append(f"{name} has more than one body")
            if name not in rows:
                account.broken.append(f"{name} is on the topic, and not in the table")

    def _letters(self, account: Account, found: Found) -> None:
        poison = {entry.where: entry.event.value for entry in self.poison}
        account.miss(len(poison.keys() - found.letters.keys()), "bad records have no dead letter")
        for where, values in found.letters.items():
            if where in poison:
                changed = [value for value in values if (value or b"") != (poison[where] or b"")]
                if changed:
                    account.broken.append(f"the dead letter of {where} has other bytes")
            else:
                account.broken.append(f"a good record became a dead letter: {where}")

    def _feed(self, account: Account, found: Found) -> None:
        if found.feed is None:
            return
        missed = {name for name, _, _, _ in found.decisions} - found.feed.keys()
        account.miss(len(missed), f"decisions did not reach the feed, such as {sorted(missed)[:3]}")
        repeated = sum(len(bodies) - 1 for bodies in found.feed.values())
        if repeated:
            account.broken.append(f"the feed showed {repeated} decisions again")

    def _slack(self, account: Account, found: Found, forgiven: int) -> None:
        if found.shown is None:
            return
        silent = {name for name, _, _, _ in found.decisions} - found.shown.keys() - found.refused
        account.miss(len(silent), f"decisions did not reach Slack, such as {sorted(silent)[:3]}")
        repeated = sum(count - 1 for count in found.shown.values())
        account.duplicate_messages += repeated
        if repeated > forgiven:
            account.broken.append(f"Slack showed {repeated} messages again, and {forgiven} may be")


def read_topic(bootstrap: str, topic: str) -> list[Any]:
    """Every record that a topic holds now. Raises KafkaException when it cannot be read to its end."""
    consumer = _consumer(bootstrap, CLIENT)
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Any] = []
        open_partitions = set(partitions)
        deadline = time.monotonic() + 20
        while open_partitions:
            for record in consumer.consume(500, 0.2):
                error = record.error()
                if error is None:
                    found.append(record)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(record.partition())
            if time.monotonic() > deadline:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return found
    finally:
        consumer.close()


async def republish(bootstrap: str, records: Iterable[Any]) -> None:
    """Publish copies of records to where they came from."""
    producer = Producer({"bootstrap.servers": bootstrap, "client.id": CLIENT, "acks": "all", "log_level": 0})
    for record in records:
        producer.produce(record.topic(), record.value(), record.key(), record.partition(), headers=record.headers())
    left = await asyncio.to_thread(producer.flush, 30)
    assert left == 0, f"{left} records were not acknowledged"


def committed(bootstrap: str, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """Partition → the offset that the group has acknowledged up to."""
    consumer = _consumer(bootstrap, group)
    try:
        wanted = [TopicPartition(topic, number) for number in partitions]
        return {item.partition: item.offset for item in consumer.committed(wanted, timeout=10)}
    finally:
        consumer.close()


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap, "client.id": CLIENT, "group.id": group, "enable.partition.eof": True,
            "enable.auto.commit": False, "fetch.wait.max.ms": 25, "log_level": 0, "error_cb": lambda _: None,
            "fetch.message.max.bytes": 10_000_000,
        }
    )  # fmt: skip
