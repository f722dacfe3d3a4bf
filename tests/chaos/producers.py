"""Faults of producers and of clocks: poison, repetition, disorder, time that jumps."""

import random
import time
from collections.abc import Iterator
from dataclasses import replace

from tests.chaos.load import Event, anomaly, poisoned, storm
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario
from tests.program import ROOT

JUMPS_MS = (0, 0, 0, -86_400_000, -2 * 86_400_000, 20 * 60_000, 40 * 60_000)


@scenario()
async def poison_in_a_stream_of_good(rig: Rig) -> None:
    """A third of what comes is unreadable: each is a dead letter with its bytes, and the good ones are counted."""
    count = rig.many(2000, 400)
    await _with_a_kill(rig, poisoned(rig.chance, storm(rig.chance, count, 40), 0.5), 400, after=count // 2)
    rig.say(f"{len(rig.ledger.poison)} bad records of {len(rig.ledger.entries)}")


@scenario(fast=True)
async def producers_repeat_themselves(rig: Rig) -> None:
    """Every third anomaly is published again, later and elsewhere, while a worker is killed; each counts once."""
    count = rig.many(3000, 600)
    await _with_a_kill(rig, repeated(rig.chance, list(storm(rig.chance, count, 30))), 600, after=count // 3)
    rig.promise(len(rig.ledger.good) == count, "the ledger has not every anomaly")


@scenario()
async def producers_out_of_order(rig: Rig) -> None:
    """Anomalies and their `resolved` come in any order of their own clocks; what counts is their order in Kafka."""
    await _with_a_kill(rig, lives(rig.chance, 1500, 25), 300, after=400)
    resolved = sum(entry.event.resolved for entry in rig.ledger.entries)
    rig.say(f"{resolved} of {len(rig.ledger.entries)} resolve")


@scenario()
async def producers_clock_jumps(rig: Rig) -> None:
    """Producers' clocks, which Kafka stamps records with, jump back by days and forth by most of an hour, the most that
    Apache Kafka takes; episodes end by them, and no anomaly counts twice.
    """
    await _with_a_kill(rig, jumping(rig.chance, 1000, 20), 200, after=300)
    rig.promise(not rig.ledger.refused, f"Kafka refused {len(rig.ledger.refused)} records, whose faults nobody judges")
    several = sum(len(counts) > 1 for counts in rig.ledger.expected().values())
    rig.promise(several, "no clock jumped far enough to end an episode")


@scenario()
async def worker_clock_jumps(rig: Rig) -> None:
    """The clock that Python's time.time shows to the worker jumps forth by an hour and back by two, under load."""
    clock = rig.folder / "clock"
    clock.write_text("0")
    await rig.worker(PYTHONPATH=str(ROOT / "tests" / "chaos" / "clock"), CHAOS_CLOCK=str(clock))
    async with rig.sending(storm(rig.chance, 1200, 200), 80):
        for count, seconds in ((150, 3600), (500, -3600), (800, 0)):
            await rig.anomalies(count)
            clock.write_text(str(seconds))
        rig.over()


@scenario()
async def anomalies_without_id(rig: Rig) -> None:
    """Anomalies that bring no id are told apart by where they lie: each counts once, also when a worker is killed."""
    count = rig.many(2000, 400)
    await _with_a_kill(rig, nameless(rig.chance, count, 20), 400, after=count // 3)


async def _with_a_kill(rig: Rig, events: Iterator[Event], rate: float, after: int) -> None:
    """Send, and kill the worker with -9 once so many anomalies are recorded; another one goes on."""
    worker = await rig.worker()
    async with rig.sending(events, rate):
        await rig.anomalies(after)
        rig.kill(worker)
        await rig.worker()
        rig.over()


def repeated(chance: random.Random, events: list[Event]) -> Iterator[Event]:
    """Each event, and now and then one of those before it."""
    for number, event in enumerate(events):
        yield event
        if number % 3 == 0:
            yield events[chance.randrange(number + 1)]


def lives(chance: random.Random, count: int, faults: int) -> Iterator[Event]:
    """Faults that come, are resolved, and come again; each keeps to its partition."""
    mark = f"life-{chance.getrandbits(24):06x}"
    for number in range(count):
        status = "resolved" if chance.random() < 0.05 else "firing"
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_790_000_000 + chance.randrange(10**6)))
        service = f"{mark}-svc-{chance.randrange(faults)}"
        yield anomaly(f"{mark}-{number}", service, keyed=True, status=status, occurred_at=when)


def jumping(chance: random.Random, count: int, faults: int) -> Iterator[Event]:
    """Each fault keeps to its partition; its producer's clock does not keep to anything."""
    mark = f"jump-{chance.getrandbits(24):06x}"
    now = time.time_ns() // 1_000_000
    for number in range(count):
        event = anomaly(f"{mark}-{number}", f"{mark}-svc-{chance.randrange(faults)}", keyed=True)
        yield replace(event, timestamp=now + chance.choice(JUMPS_MS) + number)


def nameless(chance: random.Random, count: int, faults: int) -> Iterator[Event]:
    """No ids: the ledger asks for their number alone, and for nothing to be there twice."""
    mark = f"nameless-{chance.getrandbits(24):06x}"
    for number in range(count):
        fault = number if number < faults else chance.randrange(faults)
        event = anomaly(f"{mark}-{number}", f"{mark}-svc-{fault}")
        value = (event.value or b"").replace(f'"id": "{mark}-{number}", '.encode(), b"")
        yield replace(event, value=value, nameless=True)
