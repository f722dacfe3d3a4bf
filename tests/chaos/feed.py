"""Faults of websocket clients: those that do not read, that vanish, that come back."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import websockets

from tests.chaos.load import distinct, storm
from tests.chaos.rig import Rig
from tests.chaos.scenarios import scenario


@scenario()
async def clients_come_back(rig: Rig) -> None:
    """A client's line breaks again and again; with its cursor it gets every decision, each once, and no gap."""
    listener = await rig.with_relay()
    await rig.worker()
    count = rig.many(400, 80)
    async with rig.sending(distinct(rig.chance, count), 40):
        for share in (0.2, 0.5, 0.8):
            await rig.decisions(int(count * share))
            await listener.vanish()
            await asyncio.sleep(rig.chance.uniform(0, 2))
            await listener.listen()
        rig.over()
    rig.promise(listener.gaps == 0, f"{listener.gaps} times the client was told of a gap")
    rig.say(f"{listener.visits} visits")


@scenario()
async def clients_do_not_read(rig: Rig) -> None:
    """Twenty clients connect and never read, while others come and vanish; who reads gets everything, in its time."""
    listener = await rig.with_relay()
    await rig.worker()
    async with AsyncExitStack() as stack:
        for _ in range(20):
            stack.callback((await _deaf(rig)).close)
        async with rig.sending(distinct(rig.chance, 400), 60):
            for _ in range(10):
                visitor = await websockets.connect(rig.feed_url(rig.relay_port))
                await asyncio.sleep(rig.chance.uniform(0, 0.5))
                visitor.transport.abort()
        await rig.decisions(400)
    rig.over()
    rig.promise(listener.gaps == 0, f"{listener.gaps} times the reading client was told of a gap")
    rig.promise(listener.visits == 1, "the reading client was thrown out")


@scenario()
async def relay_killed(rig: Rig) -> None:
    """The relay is killed with -9 and started again on its port; a client with a cursor misses nothing."""
    listener = await rig.with_relay()
    relay = rig.programs[-1][1]
    await rig.worker()
    async with rig.sending(distinct(rig.chance, 200), 20):
        await rig.decisions(60)
        rig.kill(relay)
        await rig.run("relay", RELAY_PORT=str(rig.relay_port))
        rig.over()
    rig.promise(listener.gaps == 0, f"{listener.gaps} times the client was told of a gap")


@scenario()
async def stale_cursor(rig: Rig) -> None:
    """A client with a cursor that nobody can serve is told so, and gets nothing of what lies between."""
    await rig.with_relay()
    await rig.worker()
    await rig.send(storm(rig.chance, 50, 10))
    await rig.decisions(10)
    async with websockets.connect(f"{rig.feed_url(rig.relay_port)}?since=bm9uc2Vuc2U") as line:
        welcome = json.loads(await line.recv())
        rig.promise(welcome["data"]["recovered"] is False, "a nonsensical cursor was served")
        pong = asyncio.create_task(line.recv())
        await line.send('{"type":"ping"}')
        rig.promise(json.loads(await pong) == {"type": "pong"}, "a part of the past was replayed")
    rig.over()


async def _deaf(rig: Rig) -> socket.socket:
    """A client that shakes hands and then reads nothing, with the smallest of windows."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(line, ("127.0.0.1", rig.relay_port))
    request = (
        "GET /ws/incidents HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(line, request.encode())
    return line
