"""The soak: mixed load and faults at random, for long; the promise holds, and no process grows."""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

from tests import model_server as played
from tests.chaos.load import Event, anomaly, poisoned
from tests.chaos.model import any_of, silent, truncated
from tests.chaos.rig import Rig
from tests.chaos.scenarios import OURS, scenario
from tests.chaos.slack import any_word
from tests.program import Program

PER_SECOND = 20.0
NEW_FAULT = 0.02
"""The share of anomalies that are of a new fault: one in 2.5 s, for Slack takes one message a second."""
SAMPLE_SECONDS = 2.0
GROWTH, SLACK_MIB, SLACK_FILES = 1.15, 24.0, 12
"""Flat: the median of the last quarter of the samples is at most 1.15 times that of the second quarter and 24 MiB,
and its most file descriptors are at most 12 more. The first quarter is warming up.
"""


@dataclass
class Gauge:
    """Memory (MiB) and file descriptors of one process, over time."""

    name: str
    pid: int
    mib: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def sample(self) -> None:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        self.mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.files.append(len(list(Path(f"/proc/{self.pid}/fd").iterdir())))

    def grown(self) -> str | None:
        """What is not flat about it, or None."""
        quarter = len(self.mib) // 4
        if not quarter:
            return f"{self.name} was not watched long enough"
        before, after = median(self.mib[quarter : 2 * quarter]), median(self.mib[-quarter:])
        if after > before * GROWTH + SLACK_MIB:
            return f"{self.name} grew from {before:.0f} to {after:.0f} MiB"
        few, many = max(self.files[quarter : 2 * quarter]), max(self.files[-quarter:])
        if many > few + SLACK_FILES:
            return f"{self.name} went from {few} to {many} file descriptors"
        return None

    def __str__(self) -> str:
        quarter = max(len(self.mib) // 4, 1)
        memory = f"{median(self.mib[quarter : 2 * quarter] or self.mib):.0f} → {median(self.mib[-quarter:]):.0f} MiB"
        return f"{self.name}: {memory}, {min(self.files)} to {max(self.files)} file descriptors"


@scenario(brokers=OURS)
async def soak(rig: Rig) -> None:
    """For --minutes: mixed load, poison and repetition, and faults at random; one worker, the relay and the Slack
    role live through it all and may not grow, a second worker dies and comes back.
    """
    moods = (
        *[played.good] * 12, played.slow(0.5), played.with_status(429, "1"), played.with_status(500),
        played.says("no"), truncated, silent, played.reset,
    )  # fmt: skip
    await rig.with_model(any_of(rig, *moods), limit=4)
    await rig.with_slack()
    listener = await rig.with_relay()
    steady = await rig.worker()
    slack = await rig.run("slack")
    gauges = [
        Gauge("worker", steady.process.pid), Gauge("slack", slack.process.pid),
        Gauge("relay", next(each.process.pid for role, each in rig.programs if role == "relay")),
    ]  # fmt: skip
    ends = time.monotonic() + rig.minutes * 60
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.ledger.publish(mixed(rig, ends), per_second=PER_SECOND, seconds=120))
        group.create_task(_sample(gauges, ends))
        await _break_things(rig, ends)
    rig.over()
    for gauge in gauges:
        rig.say(str(gauge))
        grown = gauge.grown()
        rig.promise(grown is None, grown or "")
    rig.promise(listener.gaps == 0, f"{listener.gaps} times the client was told of a gap")


def mixed(rig: Rig, ends: float) -> Iterator[Event]:
    """Storms of old faults and now and then a new one, some sent again, some unreadable, until the time is up."""
    dice = rig.dice("load")
    return poisoned(dice, _good(dice, ends), 0.01)


def _good(dice: random.Random, ends: float) -> Iterator[Event]:
    mark = f"soak-{dice.getrandbits(24):06x}"
    faults, last = 0, None
    for number in count():
        if time.monotonic() > ends:
            return
        if last is not None and dice.random() < 0.05:
            yield last
        faults += number == 0 or dice.random() < NEW_FAULT
        last = anomaly(f"{mark}-{number}", f"{mark}-svc-{dice.randrange(faults)}")
        yield last


async def _sample(gauges: list[Gauge], ends: float) -> None:
    while time.monotonic() < ends:
        for gauge in gauges:
            gauge.sample()
        await asyncio.sleep(SAMPLE_SECONDS)


async def _break_things(rig: Rig, ends: float) -> None:
    other: Program | None = None
    faults = ["postgres", "stall", "cut", "raise", "worker", "worker", "slack", "client"]
    if rig.broker.kind != "embedded":  # which would forget everything
        faults.append("broker")
    while time.monotonic() < ends:
        await asyncio.sleep(rig.chance.uniform(2, 8))
        fault = rig.chance.choice(faults)
        rig.say(f"{max(ends - time.monotonic(), 0):.0f} s to go: {fault}")
        if fault == "worker":
            other = await _come_and_go(rig, other)
        else:
            await _pass_over(rig, fault)


async def _come_and_go(rig: Rig, other: Program | None) -> Program | None:
    """The second worker starts, or ends: one way or the other."""
    if other is None:
        return await rig.worker()
    if rig.chance.random() < 0.5:
        rig.kill(other)
    else:
        await rig.terminate(other)
    return None


async def _pass_over(rig: Rig, fault: str) -> None:
    if fault == "postgres":
        await rig.database.crash()
        await asyncio.sleep(rig.chance.uniform(0, 3))
        await rig.database.start()
    elif fault == "broker":
        await rig.broker.kill()
        await rig.broker.start()
    elif fault == "stall":
        rig.database.pause()
        try:
            await asyncio.sleep(rig.chance.uniform(1, 5))
        finally:
            rig.database.go_on()
    elif fault == "cut":
        rig.database.line.cut()
    elif fault == "raise":
        await rig.database.raise_on_write(rig.chance.choice(("40001", "40P01", "53100")), 0.2)
        await asyncio.sleep(rig.chance.uniform(1, 4))
        await rig.database.write_again()
    elif fault == "slack" and rig.slack is not None:
        rig.slack.script += [any_word(rig.chance) for _ in range(6)]
    elif fault == "client" and rig.listener is not None:
        await rig.listener.vanish()
        await rig.listener.listen()
