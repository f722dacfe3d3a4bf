"""A websocket client that comes back with its cursor, and remembers all that it was shown."""

import asyncio
import json
from typing import Any

import websockets

from tests.program import until


class Listener:
    """``shown``: decision id → every body that it was sent. ``gaps``: how often it was told of one."""

    def __init__(self, url: str) -> None:
        self.shown: dict[str, list[str]] = {}
        self.gaps = 0
        self.visits = 0
        self._url = url
        self._cursor: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Connect, from where it was before; returns when it is let in."""
        visits = self.visits
        self._task = asyncio.create_task(self._follow())

        async def connected() -> bool:
            return self.visits > visits

        await until(connected, 30, "the relay's welcome")

    async def vanish(self) -> None:
        """Go without a word: the line is aborted, not closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self) -> None:
        while True:
            since = f"&since={self._cursor}" if self._cursor else ""
            try:
                async with asyncio.timeout(10):
                    line = await websockets.connect(f"{self._url}?types=decision{since}", max_size=None)
            except (OSError, TimeoutError, websockets.WebSocketException):
                await asyncio.sleep(0.2)
                continue
            try:
                await self._take(line)
            except websockets.ConnectionClosed:
                continue
            finally:
                line.transport.abort()

    async def _take(self, line: Any) -> None:
        async for text in line:
            event = json.loads(text)
            if event["type"] == "system":
                self.gaps += event["data"].get("recovered") is False
                self.visits += 1
            else:
                self.shown.setdefault(event["data"]["id"], []).append(json.dumps(event["data"], sort_keys=True))
            self._cursor = event["cursor"]
