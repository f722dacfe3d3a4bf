"""Gateway, relay and metrics listen where PULSEGUARD_HOST says, by IPv6 too, and the URLs that are printed say so."""

import asyncio
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from pipeline import doctor, endpoints
from pipeline.errors import Misconfigured
from pipeline.gateway.app import serve_gateway
from pipeline.listen import listener
from pipeline.metrics import served
from pipeline.settings import Settings
from pipeline.sinks.relay import PATH, Relay, _bind
from tests.program import free_port
from tests.unit.test_gateway import client


def has_ipv6() -> bool:
    """Whether this machine has a loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
HOSTS = ["127.0.0.1", "localhost", "0.0.0.0", pytest.param("::1", marks=ipv6), pytest.param("::", marks=ipv6)]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[None]:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        app = client().app
    listens = asyncio.Event()
    gateway = asyncio.create_task(serve_gateway(app, settings, listens))
    await asyncio.wait_for(listens.wait(), 10)
    relay = await _bind(Relay(settings, "epoch"), settings)
    await relay.start_serving()
    try:
        with served(settings.host, settings.metrics_port, lambda: None):
            yield
    finally:
        relay.close()
        await relay.wait_closed()
        gateway.cancel()
        await asyncio.gather(gateway, return_exceptions=True)


def placed(host: str) -> Settings:
    return Settings(host=host, http_port=free_port(), relay_port=free_port(), metrics_port=free_port())


@pytest.mark.parametrize("host", HOSTS)
async def test_all_that_is_printed_answers(host: str):
    """The addresses of `env` and of `up`, which `doctor` asks, too; and the page's own origin may use the feed."""
    settings = placed(host)
    printed = endpoints.as_lines(settings)
    async with serving(settings), aiohttp.ClientSession() as http:
        for path in ("/healthz", "/docs"):
            async with http.get(printed["HTTP_URL"] + path) as answer:
                assert answer.status == 200
        assert (await doctor._relay(printed["RELAY_URL"], None)).healthy
        async with http.get(f"http://{settings.host_in_url}:{settings.metrics_port}/metrics") as answer:
            assert answer.status == 200
        async with http.ws_connect(printed["RELAY_URL"], headers={"Origin": printed["HTTP_URL"]}) as feed:
            await feed.send_str('{"type": "ping"}')
            assert (await feed.receive_json())["type"] in {"pong", "system"}


@ipv6
async def test_all_addresses_are_those_of_both_kinds():
    """Of a machine that has both, whoever asks by IPv4 is answered, too."""
    settings = placed("::")
    async with serving(settings), aiohttp.ClientSession() as http:
        for host in ("127.0.0.1", "[::1]"):
            for port, path in ((settings.http_port, "/healthz"), (settings.metrics_port, "/healthz"),
                               (settings.relay_port, "/healthz")):  # fmt: skip
                async with http.get(f"http://{host}:{port}{path}") as answer:
                    assert answer.status == 200
        assert PATH in endpoints.as_lines(settings)["RELAY_URL"]


@ipv6
def test_a_port_in_use_is_named_there_too():
    with listener("::1", "HTTP_PORT", free_port()) as taken:
        taken.listen()
        with pytest.raises(Misconfigured, match=r"^HTTP_PORT: port .* cannot be used"):
            listener("::1", "HTTP_PORT", taken.getsockname()[1])


def test_an_address_of_another_machine_is_told_as_one():
    for host in ("2001:db8::1", "::1%nothing", "[::1]", "a..b", "a" * 64):
        with pytest.raises(Misconfigured, match=r"^PULSEGUARD_HOST: .* is no address of this machine"):
            listener(host, "HTTP_PORT", free_port())
