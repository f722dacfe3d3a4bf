"""The chaos suite's proxy breaks what it says it breaks, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy


@pytest.fixture
async def heard() -> list[bytes]:
    """What the server behind the proxy was sent."""
    return []


@pytest.fixture
async def proxy(heard: list[bytes]) -> AsyncIterator[Proxy]:
    """Before a server that answers each piece with the same piece."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.append(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy(("127.0.0.1", server.sockets[0].getsockname()[1]), exempt=b"ledger") as proxy:
        yield proxy
    server.close()


async def line(proxy: Proxy, first: bytes = b"hello") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has been answered once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(first)
    assert await answer(reader, len(first)) == first
    return reader, writer


async def answer(reader: asyncio.StreamReader, size: int, seconds: float = 10) -> bytes | None:
    """So many bytes, or None when they do not come."""
    try:
        return await asyncio.wait_for(reader.readexactly(size), seconds)
    except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        return None


@pytest.mark.parametrize(("fault", "arrives"), [("stall", False), ("half_open", True)])
async def test_what_is_held_back_comes_when_it_is_healed(proxy: Proxy, heard: list[bytes], fault: str, arrives: bool):
    """While it stalls nothing passes; half open, questions arrive and answers do not; nothing is dropped."""
    reader, writer = await line(proxy)
    proxy.fault = fault
    writer.write(b"one")
    assert await answer(reader, 3, 0.5) is None
    assert (b"one" in heard) is arrives
    proxy.heal()
    assert await answer(reader, 3) == b"one"


async def test_a_drip_is_whole_and_slow(proxy: Proxy):
    """A hundred bytes at 200 a second take a tenth of a second at least, each way."""
    reader, writer = await line(proxy)
    proxy.fault, proxy.rate = "drip", 200
    began = asyncio.get_running_loop().time()
    writer.write(b"x" * 100)
    assert await answer(reader, 100) == b"x" * 100
    assert asyncio.get_running_loop().time() - began > 0.2


async def test_a_cut_ends_lines_and_takes_new_ones(proxy: Proxy):
    """Who was connected is reset; who comes after is served."""
    reader, _ = await line(proxy)
    proxy.cut()
    assert await answer(reader, 1) is None
    assert proxy.broken == 1
    await line(proxy)


async def test_who_is_exempt_meets_no_fault(proxy: Proxy):
    """The ledger's own clients go through while others are hung up on."""
    reader, writer = await line(proxy, b"ledger")
    proxy.hang_up()
    proxy.fault = "stall"
    writer.write(b"one")
    assert await answer(reader, 3) == b"one"
    await line(proxy, b"a ledger too")
    other, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await answer(other, 5) is None


async def test_a_refusal_is_one(proxy: Proxy):
    """Nobody listens, and then somebody does again, on the same port."""
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.accept()
    await line(proxy)
