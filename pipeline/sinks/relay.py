"""The websocket relay: every replica tails `decisions` and the anomalies that open episodes, and fans them out.

A client that does not read is dropped before its buffer grows, and harms nobody.
"""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipeline import kafka, metrics
from pipeline.errors import Misconfigured
from pipeline.settings import Settings
from pipeline.sinks.feed import Event, Feed, Filter, Hello, envelope, hello_of

PATH = "/ws/incidents"
COALESCE = 0.01
"""Seconds between flushes of a busy feed; the first event after silence goes at once."""
BUFFER_LIMIT = 2**20
_BACKLOG = 2500
_BAD_HELLO, _BAD_TOKEN = 4400, 4401
log = structlog.get_logger()


class _Client:
    __slots__ = ("batch", "connection", "filter")

    def __init__(self, connection: ServerConnection, wanted: Filter, *, batch: bool) -> None:
        self.connection = connection
        self.filter = wanted
        self.batch = batch


class Relay:
    """The connected clients and the feed they follow."""

    def __init__(self, settings: Settings, epoch: str) -> None:
        self._settings = settings
        self._feed = Feed(epoch)
        self._clients: dict[ServerConnection, _Client] = {}
        self._pending: list[Event] = []
        self._wake = asyncio.Event()

    async def follow(self, batches: AsyncIterator[list[kafka.Message]]) -> None:
        """Take in what Kafka brings, for ever."""
        async for batch in batches:
            for message in batch:
                self._take(message)

    async def flush(self) -> None:
        """Send what is pending: at once after silence, then every `COALESCE` seconds."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            events, self._pending = self._pending, []
            cursor = self._feed.cursor()
            for client in list(self._clients.values()):
                self._send(client, [event for event in events if client.filter.wants(event)], cursor)
            await asyncio.sleep(COALESCE)

    async def serve_client(self, connection: ServerConnection) -> None:
        """One client, from its hello to its end."""
        try:
            hello = hello_of(parse_qs(urlsplit(connection.request.path if connection.request else "").query))
            if self._settings.relay_token and not self._bearer(connection):
                hello = await self._first_message(connection)
                if not hmac.compare_digest(hello.token or "", self._settings.relay_token):
                    await connection.close(_BAD_TOKEN, "bad token")
                    return
            self._join(connection, hello)
            async for text in connection:
                self._hear(connection, text)
        except (ValueError, msgspec.MsgspecError, TimeoutError):
            await connection.close(_BAD_HELLO, "bad hello")
        except ConnectionClosed:
            pass
        finally:
            self._clients.pop(connection, None)
            metrics.relay_clients.set(len(self._clients))

    def check(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no websocket of ours before the handshake."""
        path = urlsplit(request.path).path
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "ok\n")
        if path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"the feed is at {PATH}\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._origins():
            return connection.respond(HTTPStatus.FORBIDDEN, "this origin is not allowed: see ALLOW_ORIGINS\n")
        return None

    def _origins(self) -> set[str]:
        own = {f"http://{host}:{self._settings.http_port}" for host in ("127.0.0.1", "localhost", self._settings.host)}
        return own | {origin.strip() for origin in self._settings.allow_origins.split(",") if origin.strip()}

    def _bearer(self, connection: ServerConnection) -> bool:
        shown = (connection.request.headers.get("Authorization") or "") if connection.request else ""
        return hmac.compare_digest(shown, f"Bearer {self._settings.relay_token}")

    async def _first_message(self, connection: ServerConnection) -> Hello:
        async with asyncio.timeout(5):
            return _hello(await connection.recv())

    def _join(self, connection: ServerConnection, hello: Hello) -> None:
        """Replay and registration are one step of the event loop: nothing falls between them."""
        client = _Client(connection, hello.filter(), batch=hello.batch)
        # What is pending reached the ring already: a replay includes it, so it must not be flushed to this client too.
        missed = self._feed.since(hello.since) if hello.since else None
        recovered = missed is not None if hello.since else None
        welcome = {
            "type": "system",
            "data": {"event": "welcome", "recovered": recovered},
            "cursor": self._feed.cursor(),
        }
        self._write(client, msgspec.json.encode(welcome).decode())
        if missed is not None:
            self._send(client, [event for event in missed if client.filter.wants(event)], self._feed.cursor())
        self._flush_others()
        self._clients[connection] = client
        metrics.relay_clients.set(len(self._clients))

    def _flush_others(self) -> None:
        events, self._pending = self._pending, []
        for client in list(self._clients.values()):
            self._send(client, [event for event in events if client.filter.wants(event)], self._feed.cursor())

    def _hear(self, connection: ServerConnection, text: str | bytes) -> None:
        message = msgspec.json.decode(text)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            self._write(self._clients[connection], '{"type":"pong"}')
        elif kind == "hello":
            self._clients.pop(connection, None)
            self._join(connection, _hello(text))

    def _take(self, message: kafka.Message) -> None:
        try:
            data = msgspec.json.decode(message.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            data = None
        if not isinstance(data, dict):
            log.warning("unreadable_record", topic=message.topic, offset=message.offset)
            return
        decision = message.topic == self._settings.topic_decisions
        shown = data if decision else {key: data.get(key) for key in _ANOMALY_FIELDS}
        where = f"{message.topic}/{message.partition}"
        event = self._feed.add(where, message.offset, "decision" if decision else "anomaly", shown)
        if event is not None:
            self._pending.append(event)
            self._wake.set()

    def _send(self, client: _Client, events: list[Event], cursor: str) -> None:
        if not events:
            return
        if client.batch:
            self._write(client, envelope(events, cursor))
            return
        for event in events:
            if not self._write(client, event.frame):
                return

    def _write(self, client: _Client, text: str) -> bool:
        """Write without waiting; False when the client is too far behind and was dropped."""
        connection = client.connection
        if connection.transport.get_write_buffer_size() > BUFFER_LIMIT:
            metrics.relay_slow.inc()
            self._clients.pop(connection, None)
            connection.transport.abort()  # a close frame would wait behind the full buffer
            return False
        broadcast([connection], text)
        return True


_ANOMALY_FIELDS = ("anomaly", "anomaly_id", "fingerprint", "episode_id", "revision", "received_at")


def _hello(text: str | bytes) -> Hello:
    return msgspec.json.decode(text, type=Hello)


@asynccontextmanager
async def serve_relay(settings: Settings) -> AsyncIterator[None]:
    """Serve while the body runs. Raises `Misconfigured` when the port is taken."""
    topics = [settings.topic_decisions, settings.topic_enriched]
    epoch = "+".join([await kafka.topic_id(settings, topic) for topic in topics])
    relay = Relay(settings, epoch)
    async with kafka.tail(settings, topics, _BACKLOG) as batches:
        server = await _listen(relay, settings)
        tasks = [asyncio.create_task(relay.follow(batches)), asyncio.create_task(relay.flush())]
        try:
            yield
        finally:
            server.close(code=1012, reason="restarting: connect again")
            await server.wait_closed()
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def _listen(relay: Relay, settings: Settings) -> Server:
    try:
        return await serve(
            relay.serve_client, settings.host, settings.relay_port, process_request=relay.check, compression=None,
            max_size=4096, max_queue=4, open_timeout=5, close_timeout=2, ping_interval=20, ping_timeout=20,
        )  # fmt: skip
    except OSError as exc:
        raise Misconfigured("RELAY_PORT", f"port {settings.relay_port} cannot be used: {exc.strerror}") from exc
