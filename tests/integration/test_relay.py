"""The relay on a real broker, with real websocket clients: good ones, slow ones, strangers."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import websockets
from prometheus_client import REGISTRY

from pipeline import kafka
from pipeline import settings as pipeline_settings
from pipeline.errors import Misconfigured
from pipeline.settings import Settings
from pipeline.sinks import relay as module
from pipeline.sinks.relay import serve_relay
from tests.brokers import Broker
from tests.conftest import free_port, on


@pytest.fixture
async def place(kafka_server: Broker) -> AsyncIterator[tuple[Settings, kafka.Sender]]:
    """Fresh topics and a producer."""
    name = uuid4().hex[:8]
    settings = replace(
        on(kafka_server), relay_port=free_port(), topic_partitions=2,
        topic_decisions=f"decisions-{name}", topic_enriched=f"enriched-{name}",
    )  # fmt: skip
    await kafka.create_topics(settings)
    sender = kafka.Sender(settings)
    yield settings, sender
    await sender.close()


def decision(name: str, **data: Any) -> bytes:
    return json.dumps({"id": name, "service": "pay", "severity": "error", **data}).encode()


async def publish(place: tuple[Settings, kafka.Sender], *values: bytes) -> None:
    settings, sender = place
    for value in values:
        await sender.send(settings.topic_decisions, b"k", value)


def client(settings: Settings, query: str = "", **options: Any) -> Any:
    return websockets.connect(
        f"ws://127.0.0.1:{settings.relay_port}/ws/incidents{query}", max_size=None, proxy=None, **options
    )


async def receive(socket_: Any) -> dict[str, Any]:
    async with asyncio.timeout(10):
        return dict(json.loads(await socket_.recv()))


async def names(socket_: Any, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        message = await receive(socket_)
        found += [event["data"]["id"] for event in message.get("events", [message])]
    return found


async def closed(socket_: Any) -> int | None:
    async with asyncio.timeout(10):
        await socket_.wait_closed()
    return int(socket_.close_code)


async def test_a_plain_client_gets_a_welcome_then_one_message_an_event(place: tuple[Settings, kafka.Sender]):
    """Repeated ids and unreadable records are not shown; an anomaly shows what asks for a decision."""
    settings, sender = place
    async with serve_relay(settings), client(settings) as feed:
        welcome = await receive(feed)
        assert (welcome["type"], welcome["data"]) == ("system", {"event": "welcome", "recovered": None})
        await publish(place, b"[" * 5000, b"\xff", b"[]", decision("d1"), decision("d1"), decision("d2"))
        message = await receive(feed)
        assert (message["type"], message["data"]) == ("decision", json.loads(decision("d1")))
        assert await names(feed, 1) == ["d2"]
        anomaly = {"anomaly": {"error_type": "e"}, "anomaly_id": "a", "episode_id": "ep", "revision": 1, "evidence": []}
        await sender.send(settings.topic_enriched, b"k", json.dumps(anomaly).encode())
        message = await receive(feed)
        assert message["type"] == "anomaly"
        assert message["data"]["anomaly"] == {"error_type": "e"}
        assert "evidence" not in message["data"]
        await feed.send('{"type":"ping"}')
        assert await receive(feed) == {"type": "pong"}
        assert (REGISTRY.get_sample_value("pulseguard_relay_events_total", {"type": "anomaly"}) or 0) >= 1
        assert REGISTRY.get_sample_value("pulseguard_relay_clients") == 1


async def test_a_record_that_can_be_read_and_not_be_written_stops_nothing(place: tuple[Settings, kafka.Sender]):
    """As deep as the reader goes, and with what the feed puts around it deeper than the writer does."""
    settings, _ = place
    async with serve_relay(settings), client(settings) as feed:
        await receive(feed)
        deep = [b'{"id":"%d","x":%s1%s}' % (depth, b"[" * depth, b"]" * depth) for depth in range(1000, 900, -1)]
        await publish(place, *deep, decision("last"))
        async with asyncio.timeout(20):
            while '"id":"last"' not in await feed.recv():
                pass


async def test_filters_and_envelopes(place: tuple[Settings, kafka.Sender]):
    """By query or by a first message, a client gets what it asked for; batch=1 gets envelopes."""
    settings, _ = place
    async with (
        serve_relay(settings),
        client(settings, "?batch=1&min_severity=critical") as batched,
        client(settings) as said,
    ):
        assert (await receive(said))["type"] == "system"
        await said.send('{"type":"hello","service":"shop"}')
        assert (await receive(said))["type"] == "system"
        assert (await receive(batched))["type"] == "system"
        await publish(place, decision("a"), decision("b", severity="critical"), decision("c", service="shop"))
        message = await receive(batched)
        assert message["type"] == "batch"
        assert [event["data"]["id"] for event in message["events"]] == ["b"]
        assert await names(said, 1) == ["c"]


@pytest.mark.parametrize("query", ["", "&batch=1"])
async def test_a_returning_client_gets_what_it_missed_even_of_a_restarted_relay(
    place: tuple[Settings, kafka.Sender], query: str
):
    """8 MB missed arrive whole and once, and live events follow; the old have not been sent to new clients."""
    settings, _ = place
    async with serve_relay(settings), client(settings) as feed:
        await receive(feed)
        await publish(place, decision("first"))
        cursor = (await receive(feed))["cursor"]
    missed = [f"m{number}" for number in range(400)]
    await asyncio.gather(*(publish(place, decision(name, text="x" * 20_000)) for name in missed))
    async with serve_relay(settings), client(settings, f"?since={cursor}{query}") as feed, client(settings) as fresh:
        assert (await receive(feed))["data"]["recovered"] is True
        assert sorted(await names(feed, 400)) == sorted(missed)
        await receive(fresh)
        await publish(place, decision("live"))
        assert await names(feed, 1) == ["live"]
        assert await names(fresh, 1) == ["live"]
        await feed.send(json.dumps({"type": "hello", "since": "nonsense" * 1500}))
        assert (await receive(feed))["data"]["recovered"] is False


async def test_a_second_hello_repeats_nothing(place: tuple[Settings, kafka.Sender]):
    settings, _ = place
    async with serve_relay(settings), client(settings) as feed:
        start = (await receive(feed))["cursor"]
        await publish(place, decision("d1"))
        assert await names(feed, 1) == ["d1"]
        await publish(place, decision("d2"))
        cursor = (await receive(feed))["cursor"]
        assert cursor != start
        await feed.send(json.dumps({"type": "hello", "since": cursor}))
        assert (await receive(feed))["data"]["recovered"] is True
        await publish(place, decision("d3"))
        assert await names(feed, 1) == ["d3"]


async def test_only_the_client_that_does_not_read_is_dropped(place: tuple[Settings, kafka.Sender]):
    settings, _ = place
    count = 600
    before = REGISTRY.get_sample_value("pulseguard_relay_slow_clients_total") or 0
    async with serve_relay(settings), client(settings) as good, client(settings, max_queue=1) as slow:
        await receive(good)
        slow.transport.pause_reading()

        async def send() -> None:
            for number in range(count):
                await publish(place, decision(f"d{number}", text="x" * 20_000))

        _, found = await asyncio.gather(send(), names(good, count))
        assert found == [f"d{number}" for number in range(count)]
        assert REGISTRY.get_sample_value("pulseguard_relay_slow_clients_total") == before + 1
        slow.transport.resume_reading()


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [
        ("/healthz", None, 200),
        ("/ws/other", None, 404),
        ("/ws/incidents", "http://evil.example", 403),
        ("/ws/incidents", "null", 403),
        ("/ws/incidents", "http://127.0.0.1:8000", 101),
        ("/ws/incidents", "http://localhost:8000", 101),
        ("/ws/incidents", "https://ours.example", 101),
        ("/ws/incidents", None, 101),
    ],
)
async def test_who_is_let_in(place: tuple[Settings, kafka.Sender], path: str, origin: str | None, status: int):
    settings = replace(place[0], allow_origins="https://ours.example")
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    headers = upgrade | ({"Origin": origin} if origin else {})
    url = f"http://127.0.0.1:{settings.relay_port}{path}"
    async with serve_relay(settings), aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "truncated"),
        ("hello", "malformed"),
        ("[" * 4000, "no message that the feed can read"),
        ('{"type":"hello","min_severity":"huge"}', "'huge' is none of info, warning, error, critical"),
        ('{"type":"hello","types":["foo"]}', "types: 'foo' is none of"),
        ('{"type":"hello","types":"decision"}', "`$.types`"),
        ('{"type":"hello","batch":"' + "é" * 1000 + '"}', "`$.batch`"),
        (b"\xff", "no message that the feed can read"),
    ],
)
async def test_a_bad_hello_closes_with_4400_and_says_why(
    place: tuple[Settings, kafka.Sender], text: str | bytes, reason: str
):
    async with serve_relay(place[0]), client(place[0]) as feed:
        await receive(feed)
        await feed.send(text)
        assert await closed(feed) == 4400
        assert reason in feed.close_reason


@pytest.mark.parametrize("query", ["?types=foo", "?batch=x", "?min_severity=fatal", "?types=" + "%C3%A9" * 300])
async def test_a_query_that_nothing_could_pass_gets_no_welcome(place: tuple[Settings, kafka.Sender], query: str):
    """What the feed does not know is ignored; a value of a filter that it does know is not."""
    async with serve_relay(place[0]), client(place[0], query) as feed, client(place[0], "?colour=red") as other:
        assert await closed(feed) == 4400
        assert " is n" in feed.close_reason
        assert (await receive(other))["type"] == "system"


async def test_the_token_is_asked_for_and_kept_out_of_the_url(place: tuple[Settings, kafka.Sender]):
    settings = replace(place[0], relay_token="sécret")
    async with serve_relay(settings):
        for wrong in ('{"type":"hello","token":"é"}', '{"type":"ping"}'):
            async with client(settings, "?token=s%C3%A9cret") as feed:
                await feed.send(wrong)
                assert await closed(feed) == 4401
        async with client(settings, "?since=nonsense") as feed:
            await feed.send(json.dumps({"type": "hello", "token": "sécret"}))
            assert (await receive(feed))["data"]["recovered"] is False
    settings = replace(settings, relay_token="plain")
    async with serve_relay(settings), client(settings, additional_headers={"Authorization": "Bearer plain"}) as feed:
        assert (await receive(feed))["type"] == "system"


async def test_stopping_tells_clients_to_come_back(place: tuple[Settings, kafka.Sender]):
    async with serve_relay(place[0]):
        feed = await client(place[0])
    assert await closed(feed) == 1012


async def test_who_is_replayed_a_feed_that_ends_is_sent_away():
    """Its topics are made anew meanwhile: what the new ones hold by then would be missing, and nothing would say so."""
    settings = replace(pipeline_settings.read({}), relay_port=free_port())
    relay = module.Relay(settings, "old")
    server = await module._bind(relay, settings)
    await server.start_serving()
    try:
        for offset in range(3000):
            relay._take(record(settings, offset, "x" * 3000))
        cursor = relay._feed._ring[0].cursor
        async with client(settings, f"?since={cursor}", max_queue=1) as feed:
            assert (await receive(feed))["data"]["recovered"] is True
            await relay.begin_anew("new")
            relay._take(record(settings, 0))
            with pytest.raises(websockets.ConnectionClosed):
                await names(feed, 3000)
        assert await closed(feed) == 1012
    finally:
        server.close()
        await server.wait_closed()


def record(settings: Settings, offset: int, text: str = "") -> kafka.Message:
    value = decision(f"d{offset}", text=text)
    return kafka.Message(settings.topic_decisions, 0, offset, None, value, [], 0)


async def test_a_taken_port_names_its_setting(place: tuple[Settings, kafka.Sender]):
    with socket.create_server(("127.0.0.1", place[0].relay_port)), pytest.raises(Misconfigured) as caught:
        async with serve_relay(place[0]):
            pass
    assert caught.value.variable == "RELAY_PORT"


async def test_a_bug_in_the_feed_ends_the_program_and_an_error_of_the_body_stays_itself(
    place: tuple[Settings, kafka.Sender], monkeypatch: pytest.MonkeyPatch
):
    class Bug(Exception):
        pass

    @asynccontextmanager
    async def broken(*_: Any) -> AsyncIterator[AsyncIterator[list[kafka.Message]]]:
        async def batches() -> AsyncIterator[list[kafka.Message]]:
            await asyncio.sleep(1)
            raise Bug
            yield []

        yield batches()

    with pytest.raises(Misconfigured):
        async with serve_relay(place[0]):
            raise Misconfigured("OTHER", "of another part")
    monkeypatch.setattr(module.kafka, "tail", broken)
    with pytest.raises(Bug):
        async with serve_relay(place[0]):
            await asyncio.sleep(10)
