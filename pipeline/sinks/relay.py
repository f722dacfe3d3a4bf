"""The websocket relay: every replica tails `decisions` and the anomalies that open episodes, and fans them out.

A client that does not read is dropped before its buffer grows, and harms nobody.
"""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State

from pipeline import kafka, metrics
from pipeline.errors import Rejected, Unavailable
from pipeline.listen import listener
from pipeline.settings import Settings
from pipeline.settle import FIRST_WAIT, until_available
from pipeline.sinks.feed import Event, Feed, Filter, Hello, envelope, hello_of

PATH = "/ws/incidents"
COALESCE = 0.01
"""Seconds between flushes of a busy feed; the first event after silence goes at once."""
BUFFER_LIMIT = 2**20
SLICE = 2**18
"""Characters of a flush: well below `BUFFER_LIMIT`, so that one burst does not make a reader look slow."""
LONGEST_HELLO = 2**14
"""Bytes: the cursor of two topics of 700 partitions each, and what else may be asked for."""
LONGEST_LOAD, HELLO_SECONDS = 10.0, 5.0
_REPLAY_STEP = 100
_BACKLOG = 2500
_BAD_HELLO, _BAD_TOKEN = 4400, 4401
_MADE_ANEW = "the topics were made anew: connect again"
_LONGEST_REASON = 123
"""Bytes that a close frame has for it."""
log = structlog.get_logger()


class _Client:
    __slots__ = ("batch", "connection", "filter", "joined")

    def __init__(self, connection: ServerConnection, wanted: Filter, *, batch: bool) -> None:
        self.connection = connection
        self.filter = wanted
        self.batch = batch
        self.joined = 0
        """The number of the last event before the live ones."""


class Relay:
    """The connected clients and the feed they follow."""

    def __init__(self, settings: Settings, epoch: str) -> None:
        self._settings = settings
        self._feed = Feed(epoch)
        self._clients: dict[ServerConnection, _Client] = {}
        self._pending: list[Event] = []
        self._pending_size = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._level = asyncio.Event()

    async def follow(self, batches: AsyncIterator[list[kafka.Message]]) -> None:
        """Take in what Kafka brings, for ever, no faster than clients that read can be sent it."""
        async for batch in batches:
            if not batch:
                self._level.set()
            for message in batch:
                self._take(message)
                while self._pending_size > SLICE:
                    self._flushed.clear()
                    await self._flushed.wait()

    async def loaded(self) -> None:
        """Return once the backlog is in the ring: before that, a returning client would be told of gaps that are none.

        A feed that is too busy or too broken to come to its end is served after `LONGEST_LOAD` all the same.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_LOAD):
                await self._level.wait()

    async def begin_anew(self, epoch: str) -> None:
        """Forget the feed, and send its clients away: their cursors mean nothing on topics that were made anew."""
        self._feed = Feed(epoch)
        self._pending, self._pending_size = [], 0
        clients = list(self._clients)
        self._clients.clear()
        metrics.relay_clients.set(0)
        closings = [connection.close(1012, _MADE_ANEW) for connection in clients]
        await asyncio.gather(*closings)

    async def flush(self) -> None:
        """Send what is pending: at once after silence, then every `COALESCE` seconds."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._flush_pending()
            await asyncio.sleep(COALESCE)

    async def serve_client(self, connection: ServerConnection) -> None:
        """One client, from its hello to its end."""
        try:
            hello = hello_of(parse_qs(urlsplit(connection.request.path if connection.request else "").query))
            if self._settings.relay_token and not self._bearer(connection):
                first = await self._first_message(connection)
                if not _same(first.token or "", self._settings.relay_token):
                    await connection.close(_BAD_TOKEN, "bad token")
                    return
                hello = first.over(hello)
            await self._join(connection, hello)
            async for text in connection:
                await self._hear(connection, text)
        except Rejected as exc:
            await connection.close(_BAD_HELLO, _closing(exc.reason))
        except (ValueError, RecursionError, msgspec.MsgspecError) as exc:
            await connection.close(_BAD_HELLO, _closing(f"no message that the feed can read: {exc}"))
        except TimeoutError:
            await connection.close(_BAD_HELLO, f"no hello with the token within {HELLO_SECONDS:.0f} s")
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            self._forget(connection)

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
        hosts = ("127.0.0.1", "localhost", self._settings.host_in_url)
        own = {f"http://{host}:{self._settings.http_port}" for host in hosts}
        return own | self._settings.origins

    def _bearer(self, connection: ServerConnection) -> bool:
        shown = (connection.request.headers.get("Authorization") or "") if connection.request else ""
        return _same(shown, f"Bearer {self._settings.relay_token}")

    async def _first_message(self, connection: ServerConnection) -> Hello:
        async with asyncio.timeout(HELLO_SECONDS):
            return _hello(await connection.recv())

    async def _join(self, connection: ServerConnection, hello: Hello, before: _Client | None = None) -> None:
        """Welcome, replay, register. ``before`` is what the client was when it says hello again: it has seen that."""
        client = _Client(connection, hello.filter(), batch=hello.batch)
        feed = self._feed
        client.joined = feed.last
        cursor = feed.cursor()
        missed = feed.since(hello.since) if hello.since else None
        recovered = missed is not None if hello.since else None
        welcome = {"type": "system", "data": {"event": "welcome", "recovered": recovered}, "cursor": cursor}
        if before is not None and missed is not None:
            missed = [event for event in missed if event.number <= before.joined or not before.filter.wants(event)]
        await connection.send(msgspec.json.encode(welcome).decode())
        await self._replay(client, feed, missed or [])
        # Between the last look at the ring and this there is no await: nothing falls between replay and live events.
        self._flush_pending()
        self._clients[connection] = client
        metrics.relay_clients.set(len(self._clients))

    async def _replay(self, client: _Client, feed: Feed, missed: list[Event]) -> None:
        """Send what was missed as fast as the client reads it, then what came meanwhile, until it is level."""
        while True:
            wanted = [event for event in missed if client.filter.wants(event)]
            for start in range(0, len(wanted), _REPLAY_STEP):
                for text in _messages(wanted[start : start + _REPLAY_STEP], batch=client.batch):
                    await client.connection.send(text)
            if feed is not self._feed:
                await client.connection.close(1012, _MADE_ANEW)
                raise ConnectionError
            came = feed.after(client.joined)
            if came is None:
                self._drop(client.connection)
                raise ConnectionError
            if not came:
                return
            missed, client.joined = came, came[-1].number

    def _flush_pending(self) -> None:
        events, self._pending, self._pending_size = self._pending, [], 0
        self._flushed.set()
        groups: dict[tuple[Filter, bool], list[ServerConnection]] = {}
        for connection, client in list(self._clients.items()):
            if connection.transport.get_write_buffer_size() > BUFFER_LIMIT:
                self._drop(connection)
            else:
                groups.setdefault((client.filter, client.batch), []).append(connection)
        for (wanted, batch), connections in groups.items():
            _write(connections, _messages([event for event in events if wanted.wants(event)], batch=batch))

    def _drop(self, connection: ServerConnection) -> None:
        metrics.relay_slow.inc()
        self._forget(connection)
        connection.transport.abort()  # a close frame would wait behind the full buffer

    def _forget(self, connection: ServerConnection) -> None:
        self._clients.pop(connection, None)
        metrics.relay_clients.set(len(self._clients))

    async def _hear(self, connection: ServerConnection, text: str | bytes) -> None:
        message = msgspec.json.decode(text)
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "ping":
            await connection.send('{"type":"pong"}')
        elif kind == "hello":
            self._flush_pending()
            await self._join(connection, _hello(text), self._clients.pop(connection, None))

    def _take(self, message: kafka.Message) -> None:
        where = (message.topic, message.partition)
        try:
            event = self._feed.add(where, message.offset, *self._shown(message))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            log.warning("unreadable_record", topic=message.topic, offset=message.offset)
            self._feed.skip(where, message.offset)
            return
        if event is None:
            return
        metrics.relay_events.labels(type=event.type).inc()
        if self._clients:
            self._pending.append(event)
            self._pending_size += len(event.frame)
            self._wake.set()

    def _shown(self, message: kafka.Message) -> tuple[str, dict[str, Any]]:
        """What clients get of a record: a type, and the data."""
        data = msgspec.json.decode(message.value or b"", type=dict[str, Any])
        if message.topic == self._settings.topic_decisions:
            return "decision", data
        return "anomaly", {key: data.get(key) for key in ANOMALY_FIELDS}


ANOMALY_FIELDS = ("anomaly", "anomaly_id", "fingerprint", "episode_id", "revision", "received_at")


def _messages(events: list[Event], *, batch: bool) -> list[str]:
    """What a client is sent: one message an event, or one envelope for all. The cursor is that after the last."""
    if batch and events:
        return [envelope(events)]
    return [event.frame for event in events]


def _write(connections: list[ServerConnection], texts: list[str]) -> None:
    """Send the same to all that are open, in one write each.

    websockets' own `broadcast` makes each frame anew for each client, and writes it by itself.
    """
    frames = b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)
    for connection in connections if frames else ():
        if connection.state is State.OPEN and not connection.transport.is_closing():
            connection.transport.write(frames)


def _hello(text: str | bytes) -> Hello:
    return msgspec.json.decode(text, type=Hello)


def _closing(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:_LONGEST_REASON].decode("utf-8", "ignore")


def _same(shown: str, secret: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), secret.encode())


@asynccontextmanager
async def serve_relay(settings: Settings) -> AsyncIterator[None]:
    """Serve while the body runs; a bug in the feed ends the body. Raises `Misconfigured` when the port is taken."""
    relay = Relay(settings, await _epoch(settings))
    server = await _bind(relay, settings)
    try:
        async with _running(_follow(relay, settings), relay.flush()):
            await relay.loaded()
            await server.start_serving()
            yield
    finally:
        server.close(code=1012, reason="restarting: connect again")
        await server.wait_closed()


async def _follow(relay: Relay, settings: Settings) -> None:
    """Follow the topics, also when they are made anew, and from the beginning of an outage or a change of leaders."""
    while True:
        try:
            async with kafka.tail(settings, _topics(settings), _BACKLOG) as batches:
                await relay.follow(batches)
        except kafka.TopicReplaced as exc:
            log.warning("topic_made_anew", topic=str(exc))
            await relay.begin_anew(await until_available(lambda: _epoch(settings)))
        except Unavailable as exc:  # nothing was taken in yet
            log.warning("waiting", system=exc.system, detail=exc.detail)
            await asyncio.sleep(FIRST_WAIT)


def _topics(settings: Settings) -> list[str]:
    return [settings.topic_decisions, settings.topic_enriched]


async def _epoch(settings: Settings) -> str:
    """What the cursors of this feed are good for: these topics, as they were made."""
    return "+".join((await kafka.topic_ids(settings, _topics(settings))).values())


@asynccontextmanager
async def _running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``works`` beside the body. One that fails cancels the body, and its error is raised in place of that.

    A TaskGroup would wrap the body's own errors too, and `Misconfigured` must reach the command line as it is.
    """
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 - a coroutine runs in a task
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            failed.append(failure)
            body.cancel()

    tasks = [asyncio.create_task(work) for work in works]
    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    finally:
        for task in tasks:
            task.remove_done_callback(ended)
            task.cancel()
        await asyncio.wait(tasks)
        if failed:
            body.uncancel()
            raise failed[0]


async def _bind(relay: Relay, settings: Settings) -> Server:
    """Take the port, but let nobody in yet."""
    return await serve(
        relay.serve_client, sock=listener(settings.host, "RELAY_PORT", settings.relay_port),
        process_request=relay.check, compression=None, max_size=LONGEST_HELLO, max_queue=4, open_timeout=5,
        close_timeout=2, ping_interval=20, ping_timeout=20, start_serving=False,
    )  # fmt: skip
