"""A TCP proxy that breaks what passes through it, on purpose: between the program and Kafka, PostgreSQL or Qdrant."""

import asyncio
from contextlib import suppress
from typing import Self

CHUNK = 65536
LOOK = 0.05
"""Seconds between two looks at a stalled line."""


class Proxy:
    """Listens on 127.0.0.1:``port`` and passes bytes on to ``target``, as its ``fault`` says, which may change.

    - ``None``: as they come
    - ``stall``: nothing passes, either way; connections stay
    - ``half_open``: what clients send arrives, what is answered does not
    - ``delay``: each chunk comes ``delay`` seconds later
    - ``drip``: at most ``rate`` bytes a second and direction

    Connections whose first bytes hold ``exempt`` are never touched: Kafka's clients say their client.id there.
    """

    def __init__(self, target: tuple[str, int], port: int = 0, exempt: bytes = b"\0\0no one") -> None:
        self.port = port
        self.fault: str | None = None
        self.delay = 0.05
        self.rate = 2000
        self.broken = 0
        self._target = target
        self._exempt = exempt
        self._server: asyncio.Server | None = None
        self._lines: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuses = False

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def accept(self) -> None:
        """Listen (again)."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]
        self._refuses = False

    async def refuse(self) -> None:
        """Cut every line and refuse new ones: nobody listens."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()

    def hang_up(self) -> None:
        """Cut every line, and each new one as soon as it is made (who is exempt stays)."""
        self._refuses = True
        self.cut()

    def cut(self) -> None:
        """Reset every line; new ones are accepted."""
        self.broken += len(self._lines)
        for line in list(self._lines):
            for writer in line:
                writer.transport.abort()

    def heal(self) -> None:
        """Pass bytes on as they come, and let new lines in."""
        self.fault = None
        self._refuses = False

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.read(CHUNK)
            free = self._exempt in first[:128]
            if not first or (self._refuses and not free):
                return
            await self._pass(first, reader, writer, free=free)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def _pass(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, free: bool
    ) -> None:
        there, back = await asyncio.open_connection(*self._target)
        line = (writer, back)
        try:
            if not free:
                self._lines.add(line)
            ways = [
                asyncio.ensure_future(self._copy(reader, back, first, free=free, answers=False)),
                asyncio.ensure_future(self._copy(there, writer, b"", free=free, answers=True)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            self._lines.discard(line)
            back.transport.abort()
            writer.transport.abort()

    async def _copy(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, data: bytes, *, free: bool, answers: bool
    ) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while True:
                if data:
                    await self._send(sink, data, free=free, answers=answers)
                data = await source.read(CHUNK)
                if not data:
                    return

    async def _send(self, sink: asyncio.StreamWriter, data: bytes, *, free: bool, answers: bool) -> None:
        if not free:
            while self.fault == "stall" or (self.fault == "half_open" and answers):
                await asyncio.sleep(LOOK)
            if self.fault == "delay":
                await asyncio.sleep(self.delay)
            while self.fault == "drip" and data:
                step = max(int(self.rate * LOOK), 1)
                sink.write(data[:step])
                data = data[step:]
                await asyncio.sleep(LOOK)
        sink.write(data)
        await sink.drain()
