"""Faults of workers: killed, added, stopped, frozen."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.chaos.load import distinct, storm
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario
from tests.model_server import ModelServer, slow


@scenario()
async def worker_killed_idle(rig: Rig) -> None:
    """A worker with nothing to do is killed with -9; what is sent while nobody works is settled by the next one."""
    worker = await rig.worker()
    await rig.send(distinct(rig.chance, 20))
    await rig.decisions(20)
    await rig.idle()
    rig.kill(worker)
    await rig.send(storm(rig.chance, rig.many(500, 100), 10))
    rig.over()
    await rig.worker()


@scenario()
async def worker_killed_mid_batch(rig: Rig) -> None:
    """A worker is killed with -9 while its batch waits for PostgreSQL to commit, and so is its successor; the third
    counts the rest of the storm.
    """
    count = rig.many(6000, 1500)
    await rig.send(storm(rig.chance, count, 40))
    for share in sorted(rig.chance.uniform(0.05, 0.8) for _ in range(2)):
        worker = await rig.worker(wait=False)
        await rig.anomalies(int(count * share))
        rig.database.line.fault = "stall"
        await asyncio.sleep(4)  # several times what passes between two commits to Kafka
        rig.kill(worker)
        rig.database.line.heal()
        rig.say(f"killed after {await rig.database.value('SELECT count(*) FROM anomalies')} anomalies")
    rig.over()
    await rig.worker()


@scenario()
async def worker_killed_with_200_calls_in_flight(rig: Rig) -> None:
    """A worker is killed with -9 while 200 model calls are under way; each of 400 anomalies has one decision after."""
    model = await rig.with_model(slow(3.0), in_flight=200, limit=15)
    worker = await rig.worker()
    await rig.send(distinct(rig.chance, 400))
    await rig.wait(_asked(model, 200), 60, "200 model calls")
    rig.kill(worker)
    rig.over()
    await rig.worker()


@scenario(fast=True)
async def worker_killed_in_500_slow_decisions(rig: Rig) -> None:
    """A worker is killed with -9 in the middle of 500 slow decisions, and started again: each has exactly one."""
    model = await rig.with_model(slow(1.0), in_flight=64, limit=15)
    worker = await rig.worker()
    count = rig.many(500, 150)
    await rig.send(distinct(rig.chance, count))
    await rig.decisions(rig.chance.randrange(count // 3, count // 2))
    rig.kill(worker)
    rig.over()
    await rig.worker()
    await rig.decisions(count)
    rig.say(f"the model was asked {len(model.asked)} times for {count} decisions")
    rig.promise(len(model.asked) <= count + 64, "more was asked again than what was in flight")


@scenario(fast=True)
async def two_workers_one_killed(rig: Rig) -> None:
    """One of two workers is killed with -9 under load; the other takes its partitions over."""
    await rig.with_model(slow(0.5))
    first, _ = await rig.worker(), await rig.worker()
    count = rig.many(600, 120)
    async with rig.sending(distinct(rig.chance, count), 60):
        await rig.decisions(count // 4)
        rig.kill(first)
        rig.over()


@scenario()
async def two_workers_one_added(rig: Rig) -> None:
    """A third worker joins two that are busy, and a fourth; partitions move under load."""
    await rig.with_model(slow(0.5))
    await rig.worker()
    await rig.worker()
    async with rig.sending(distinct(rig.chance, 400), 40):
        await rig.decisions(60)
        await rig.worker()
        await rig.decisions(150)
        await rig.worker()
    rig.over()


@scenario()
async def three_workers_one_stopped(rig: Rig) -> None:
    """One of three busy workers is asked to stop; it drains, ends with code 0, and the others take over."""
    await rig.with_model(slow(0.5))
    first, _, _ = await rig.worker(), await rig.worker(), await rig.worker()
    async with rig.sending(distinct(rig.chance, 400), 40):
        await rig.decisions(80)
        rig.say(f"stopped in {await rig.terminate(first):.1f} s")
        rig.over()


@scenario()
async def three_workers_one_killed_one_added_one_stopped(rig: Rig) -> None:
    """Under load one of three workers is killed, a new one joins, and another is asked to stop."""
    await rig.with_model(slow(0.5))
    first, second, _ = await rig.worker(), await rig.worker(), await rig.worker()
    async with rig.sending(storm(rig.chance, 1500, 300), 100):
        await rig.decisions(60)
        rig.kill(first)
        await rig.worker()
        await rig.terminate(second)
        rig.over()


@scenario()
async def worker_frozen(rig: Rig) -> None:
    """One of two workers is frozen for longer than its session, put out of the group, and wakes up among its work."""
    await rig.with_model(slow(0.5))
    first, _ = await rig.worker(), await rig.worker()
    async with rig.sending(distinct(rig.chance, 300), 20):
        await rig.decisions(60)
        first.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(16)  # the fault is the time itself: longer than any session of ours
        first.process.send_signal(signal.SIGCONT)
        rig.over()


@scenario(fast=True)
async def sigterm_under_load(rig: Rig) -> None:
    """A busy worker gets SIGTERM: it drains within its grace period and hands over; no model call is made twice."""
    model = await rig.with_model(slow(1.0))
    worker = await rig.worker()
    count = rig.many(300, 60)
    await rig.send(distinct(rig.chance, count))
    await rig.decisions(count // 4)
    seconds = await rig.terminate(worker)
    rig.over()
    rig.say(f"drained in {seconds:.1f} s")
    rig.promise(seconds < 30, f"draining took {seconds:.1f} s, more than the grace period of 30 s")
    await rig.worker()
    await rig.decisions(count)
    rig.promise(len(model.asked) == count, f"the model was asked {len(model.asked)} times for {count} anomalies")
    plain = await rig.database.value("SELECT count(*) FROM decisions WHERE engine <> 'llm'")
    rig.promise(plain == 0, f"{plain} decisions went without the model because of the stop")
    again = (await rig.settle()).seen_again
    rig.promise(again == 0, f"{again} decisions were published again needlessly")


def _asked(model: ModelServer, count: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return len(model.asked) >= count

    return asked
