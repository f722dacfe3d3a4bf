"""What `pulseguard doctor` says of the roles: who answers, and nothing of that is a fault."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from pipeline import settings
from pipeline.doctor import Check, _roles
from tests.conftest import free_port

PLAIN = settings.read({})


@asynccontextmanager
async def serving(answer: Callable[[web.Request], web.StreamResponse]) -> AsyncIterator[dict[str, str]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return answer(request)

    server = web.Application()
    server.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(server)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield {"HTTP_URL": f"http://127.0.0.1:{port}", "RELAY_URL": f"ws://127.0.0.1:{port}/ws/incidents"}
    finally:
        await runner.cleanup()


async def seen(known: dict[str, str], token: str | None = None, **changed: str) -> dict[str, Check]:
    found = await _roles(replace(PLAIN, relay_token=token, **changed), known, kafka_answers=False)
    return {check.part.removeprefix("role "): check for check in found}


async def test_nothing_that_runs_is_no_fault():
    """Each role is named with where it was asked for."""
    port = free_port()
    found = await seen({"HTTP_URL": f"http://127.0.0.1:{port}", "RELAY_URL": f"ws://127.0.0.1:{port}/ws/incidents"})
    assert {role: check.healthy for role, check in found.items()} == dict.fromkeys(settings.ROLES)
    assert f"does not answer at http://127.0.0.1:{port}/readyz" in found["gateway"].detail
    assert f"does not answer at ws://127.0.0.1:{port}/ws/incidents" in found["relay"].detail
    assert found["worker"].detail == found["slack"].detail == "not known without Kafka"


@pytest.mark.parametrize(
    ("answer", "healthy", "says"),
    [
        (lambda: web.json_response({"postgres": "ok", "kafka": "ok"}), True, "/readyz: ready"),
        (lambda: web.json_response({"postgres": "ok", "kafka": "away"}, status=503), None, "/readyz: kafka: away"),
        (lambda: web.Response(text="<html>"), None, "another program"),
        (lambda: web.Response(body=b"{", content_type="application/json"), None, "another program"),
        (lambda: web.Response(body=b"[\xff]", content_type="application/json"), None, "another program"),
        (lambda: web.Response(status=404), None, "another program"),
    ],
)  # fmt: skip
async def test_a_gateway_is_ready_or_says_what_is_not(
    answer: Callable[[], web.Response], healthy: bool | None, says: str
):
    async with serving(lambda _: answer()) as known:
        found = (await seen(known))["gateway"]
    assert (found.healthy, says in found.detail) == (healthy, True), found.detail


@pytest.mark.parametrize(
    ("changed", "warned"),
    [({}, False), ({"host": "0.0.0.0"}, True), ({"host": "0.0.0.0", "api_token": "secret"}, False)],
)
async def test_an_api_that_others_reach_without_a_token_is_said_to_be_open(changed: dict[str, str], warned: bool):
    async with serving(lambda _: web.json_response({"kafka": "ok"})) as known:
        found = (await seen(known, **changed))["gateway"]
    assert (found.healthy, "API_TOKEN is not set" in found.detail) == (True, warned)
    assert "secret" not in found.detail


async def test_a_relay_is_shown_its_token():
    """And is running when it takes the handshake."""
    shown: list[str | None] = []

    def answer(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers.get("Authorization"))
        return web.Response(status=403)

    async with serving(answer) as known:
        found = (await seen(known, "secret"))["relay"]
    assert found.healthy is None
    assert shown[-1] == "Bearer secret"
    assert "secret" not in found.detail
