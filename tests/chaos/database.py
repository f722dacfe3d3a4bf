"""The PostgreSQL of a run: a real one behind a proxy, held so that it stays up or is broken on purpose."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import asyncpg

from pipeline.embedded.postgres import embedded_postgres
from pipeline.migrations import migrate
from tests.chaos.proxy import Proxy
from tests.program import free_port

_RAISE = """
CREATE OR REPLACE FUNCTION chaos_fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF random() < {share} THEN
        RAISE EXCEPTION 'played by the chaos suite' USING ERRCODE = '{state}';
    END IF;
    RETURN NEW;
END $$
"""
TABLES = ("anomalies", "episodes", "revisions", "decisions", "progress", "notifications", "messages")


class Database:
    """``url`` leads through ``line``, the proxy; the suite itself goes straight."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._stack = AsyncExitStack()
        self._straight = ""
        self.line = Proxy(("127.0.0.1", self._port))
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start()
        await self.line.accept()
        self.url = self._straight.replace(f":{self._port}/", f":{self.line.port}/")
        await migrate(self._straight)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.line.__aexit__()
        await self.stop()

    async def start(self) -> None:
        """Start it on the data it had."""
        self._straight = await self._stack.enter_async_context(embedded_postgres(self._folder, self._port))

    async def stop(self) -> None:
        """Fast shutdown: every session is ended with 57P01."""
        await self._stack.aclose()

    async def crash(self) -> None:
        """Immediate shutdown: what was not committed is gone, and the next start recovers from the log."""
        os.kill(self._pid, signal.SIGQUIT)
        await self.stop()

    def pause(self) -> None:
        """SIGSTOP the server and each of its sessions."""
        for pid in (self._pid, *self._sessions()):
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT them."""
        for pid in (*self._sessions(), self._pid):
            os.kill(pid, signal.SIGCONT)

    async def raise_on_write(
        self, state: str, share: float, tables: Sequence[str] = TABLES, on: str = "INSERT OR UPDATE",
        when: str = "true",
    ) -> None:  # fmt: skip
        """Let every row that the pipeline writes fail with this SQLSTATE, with this probability."""
        async with self.connection() as connection:
            await connection.execute(_RAISE.format(share=share, state=state))
            for table in tables:
                await connection.execute(
                    f"CREATE OR REPLACE TRIGGER chaos_fault BEFORE {on} ON {table} "
                    f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION chaos_fault()"
                )

    async def write_again(self) -> None:
        """Take the triggers away."""
        async with self.connection() as connection:
            for table in TABLES:
                await connection.execute(f"DROP TRIGGER IF EXISTS chaos_fault ON {table}")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A session of the suite's own, past the proxy."""
        connection = await asyncpg.connect(self._straight, timeout=20)
        try:
            yield connection
        finally:
            await connection.close()

    async def rows(self, query: str) -> list[Any]:
        async with self.connection() as connection:
            return list(await connection.fetch(query))

    async def value(self, query: str) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(query)

    @property
    def _pid(self) -> int:
        return int((self._folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])

    def _sessions(self) -> list[int]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == self._pid:
                found.append(int(stat.parent.name))
        return found


async def lock_for(database: Database, table: str, seconds: float) -> None:
    """Hold ``table`` for so long that statements on it run into their limit."""
    async with database.connection() as connection, connection.transaction():
        await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        await asyncio.sleep(seconds)
