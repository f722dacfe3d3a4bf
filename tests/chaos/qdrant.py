"""Faults of Qdrant, which is derived: while it is away decisions wait, and nothing is lost."""

import asyncio

from tests.chaos.load import distinct
from tests.chaos.proxy import Proxy
from tests.chaos.qdrant_server import QdrantServer, qdrant_server
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario


@scenario()
async def qdrant_away(rig: Rig) -> None:
    """Nobody listens at Qdrant's port for some seconds; then it answers 503; then it is back."""
    line, server = await _with_qdrant(rig)
    await rig.worker()
    count = rig.many(300, 80)
    async with rig.sending(distinct(rig.chance, count), 25):
        await rig.decisions(count // 6)
        await line.refuse()
        await asyncio.sleep(rig.many(8, 2))
        server.status = 503
        await line.accept()
        await asyncio.sleep(rig.many(4, 1))
        server.status = None
        rig.over()
    rig.promise(server.asked > 0, "nobody asked Qdrant")


@scenario()
async def qdrant_slow(rig: Rig) -> None:
    """Qdrant takes long, then answers nothing for longer than a request may take, and is well again."""
    line, _ = await _with_qdrant(rig)
    await rig.worker()
    async with rig.sending(distinct(rig.chance, 300), 20):
        await rig.decisions(40)
        line.fault, line.delay = "delay", 1.0
        await asyncio.sleep(5)
        line.fault = "stall"
        await asyncio.sleep(8)  # the fault is the time itself: a request has 5 s
        line.heal()
        rig.over()


async def _with_qdrant(rig: Rig) -> tuple[Proxy, QdrantServer]:
    server = await rig.stack.enter_async_context(qdrant_server())
    line = await rig.stack.enter_async_context(Proxy(("127.0.0.1", server.port)))
    rig.environment["QDRANT_URL"] = f"http://127.0.0.1:{line.port}"
    return line, server
