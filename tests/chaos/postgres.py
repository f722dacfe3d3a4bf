"""Faults of PostgreSQL, which is the record: away, crashed, stalled, full, and of two minds."""

import asyncio

from tests.chaos.database import lock_for
from tests.chaos.load import distinct, storm
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario


@scenario()
async def postgres_restart(rig: Rig) -> None:
    """PostgreSQL is stopped under load, stays away for some seconds, and comes back; nothing is dead-lettered."""
    await rig.worker()
    count = rig.many(3000, 500)
    async with rig.sending(storm(rig.chance, count, 30), 300):
        await rig.anomalies(count // 5)
        await rig.database.stop()
        await asyncio.sleep(rig.chance.uniform(1, 6))
        await rig.database.start()
        rig.over()


@scenario()
async def postgres_crash(rig: Rig) -> None:
    """PostgreSQL crashes under load, twice, and recovers from its log."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 3000, 60), 300):
        for count in (400, 1200):
            await rig.anomalies(count)
            await rig.database.crash()
            await rig.database.start()
        rig.over()


@scenario()
async def postgres_stalled(rig: Rig) -> None:
    """PostgreSQL and its sessions are frozen for longer than a statement may take, and go on."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 2000, 30), 150):
        await rig.anomalies(300)
        rig.database.pause()
        try:
            await asyncio.sleep(13)  # the fault is the time itself: statements have 10 s
        finally:
            rig.database.go_on()
        rig.over()


@scenario()
async def postgres_line_half_open(rig: Rig) -> None:
    """PostgreSQL's answers get lost: commits succeed and nobody hears of it, and yet nothing counts twice."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 1500, 30), 100):
        await rig.anomalies(200)
        rig.database.line.fault = "half_open"
        await asyncio.sleep(4)
        rig.database.line.cut()
        rig.database.line.heal()
        rig.over()


@scenario(fast=True)
async def postgres_line_cut(rig: Rig) -> None:
    """Every connection to PostgreSQL is reset, again and again, wherever the statements are."""
    await rig.worker()
    count = rig.many(3000, 600)
    async with rig.sending(storm(rig.chance, count, 100), 300):
        for _ in range(rig.many(30, 8)):
            await asyncio.sleep(rig.chance.uniform(0.05, 0.4))
            rig.database.line.cut()
        rig.over()
    rig.promise(rig.database.line.broken > 0, "no connection was cut")


@scenario()
async def postgres_refuses(rig: Rig) -> None:
    """Nobody listens at PostgreSQL's port for some seconds."""
    await rig.worker()
    async with rig.sending(storm(rig.chance, 2000, 30), 200):
        await rig.anomalies(300)
        await rig.database.line.refuse()
        await asyncio.sleep(rig.chance.uniform(3, 8))
        await rig.database.line.accept()
        rig.over()


@scenario()
async def postgres_disk_full(rig: Rig) -> None:
    """Every write fails with SQLSTATE 53100 (disk full), until there is room again."""
    await _failing(rig, "53100", 1.0)


@scenario()
async def postgres_deadlocks(rig: Rig) -> None:
    """One row in forty fails with SQLSTATE 40P01 (deadlock detected)."""
    await _failing(rig, "40P01", 0.025)


@scenario()
async def postgres_serialization_failures(rig: Rig) -> None:
    """One row in forty fails with SQLSTATE 40001 (serialization failure), and its whole transaction with it."""
    await _failing(rig, "40001", 0.025)


@scenario()
async def postgres_read_only(rig: Rig) -> None:
    """Every write fails with SQLSTATE 25006, as on a primary that became a replica."""
    await _failing(rig, "25006", 1.0)


@scenario()
async def postgres_locked(rig: Rig) -> None:
    """Somebody holds the table of decisions locked for longer than a statement may take."""
    await rig.worker()
    async with rig.sending(distinct(rig.chance, 300), 30):
        await rig.decisions(50)
        await lock_for(rig.database, "decisions", 13)
        rig.over()


async def _failing(rig: Rig, state: str, share: float) -> None:
    await rig.worker()
    count = rig.many(1500, 300)
    async with rig.sending(storm(rig.chance, count, 60), 150):
        await rig.anomalies(count // 6)
        await rig.database.raise_on_write(state, share)
        await asyncio.sleep(rig.many(8, 3))
        await rig.database.write_again()
        rig.over()
