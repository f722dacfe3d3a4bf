"""The connections to the models' servers: one session of ours that litellm is lent, and that reads no endless answer.

litellm's own are let go of every hour, and of OpenAI's client nobody closes what is let go of.
"""

from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp

_MOST_BYTES = 4 << 20
"""Of one answer: hundreds of times what a model may say."""
_MOST_PACKED = 64 << 10
"""Of one that is compressed: unpacked it may be a thousand times as long, and holds the loop while it is read."""


class Connections:
    """``options`` are those of aiohttp's connector. Opened at the first use, for a session needs the loop it is for."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The one session of all models."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(**self._options), cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_Response,
            )  # fmt: skip
        return self._session

    async def close(self) -> None:
        """Close them; also where none was opened."""
        if self._session is not None:
            await self._session.close()


class _Response(aiohttp.ClientResponse):
    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        most = _MOST_PACKED if "Content-Encoding" in self.headers else _MOST_BYTES
        self.content = cast("aiohttp.StreamReader", _Bounded(self.content, most))
        return self


class _Bounded:
    """A stream that raises ValueError where it goes on for more than ``most`` bytes."""

    def __init__(self, stream: aiohttp.StreamReader, most: int) -> None:
        self._stream = stream
        self._most = most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        async for chunk in self._stream.iter_chunked(size):
            if self._stream.total_bytes > self._most:
                raise ValueError(f"an answer of more than {self._most} bytes")
            yield chunk
