"""A real HTTP server that plays a model behind OpenAI's protocol: follows the evidence, or misbehaves."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, dict[str, Any], int], Awaitable[web.StreamResponse]]


class ModelServer:
    """``url`` is its API base; ``asked`` are the requests it got, ``keys`` their Authorization headers.

    ``clients`` are the connections that they came by.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.clients: set[object] = set()


def completion(text: str | None, *, asked: int = 700, answered: int = 60, **said: Any) -> web.Response:
    """A completion of OpenAI's, with what else the assistant ``said`` and the tokens that the server counts."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text} | said}
    usage = {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": 760}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "played",
        "choices": [choice],
        "usage": usage,
    }
    return web.json_response(body)


def answer_for(question: dict[str, Any], **changes: Any) -> str:
    """A well-formed answer that follows the nearest evidence."""
    data = json.loads(question["messages"][1]["content"])
    nearest = data["evidence"][0]
    answer = {
        "verdict": "recommend",
        "action": nearest["action"]["name"],
        "parameters": nearest["action"].get("parameters", {}),
        "matched_incident": nearest["incident_id"],
        "confidence": 0.9,
        "rationale": f"As in {nearest['incident_id']}.",
    }
    return json.dumps(answer | changes)


async def good(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
    return completion(answer_for(question))


def slow(seconds: float) -> Behaviour:
    async def behave(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return completion(answer_for(question))

    return behave


def says(text: str | None, **more: Any) -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
        return completion(text, **more)

    return behave


def counts(asked: int, answered: int) -> Behaviour:
    """The good answer, and as many tokens."""

    async def behave(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
        return completion(answer_for(question), asked=asked, answered=answered)

    return behave


async def uncounted(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
    """The good answer, of a server that says nothing of tokens."""
    said = json.loads(completion(answer_for(question)).body or b"")
    del said["usage"]
    return web.json_response(said)


def changed(**changes: Any) -> Behaviour:
    """The good answer, with other values."""

    async def behave(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
        return completion(answer_for(question, **changes))

    return behave


def with_status(status: int, retry_after: str = "1", header: str = "Retry-After") -> Behaviour:
    async def behave(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no"}}, status=status, headers={header: retry_after})

    return behave


def body(text: str, content_type: str) -> Behaviour:
    """Status 200 with a body that is no completion."""

    async def behave(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return behave


async def no_choices(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
    return web.json_response({"id": "c", "object": "chat.completion", "created": 1, "model": "played", "choices": []})


async def fenced(_: web.Request, question: dict[str, Any], __: int) -> web.StreamResponse:
    return completion(f"```json\n{answer_for(question)}\n```")


async def drip(request: web.Request, _: dict[str, Any], __: int) -> web.StreamResponse:
    """One byte every 0.2 s: no read ever times out."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(300):
        await response.write(b" ")
        await asyncio.sleep(0.2)
    return response


async def endless(request: web.Request, _: dict[str, Any], __: int) -> web.StreamResponse:
    """Blanks, which JSON may begin with, as fast as they are taken."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    with suppress(ConnectionError):
        for _ in range(4000):
            await response.write(b" " * 262_144)
    return response


async def packed(_: web.Request, __: dict[str, Any], ___: int) -> web.StreamResponse:
    """400 KB that unpack to 400 MB."""
    bomb = gzip.compress(bytes(400 << 20), 1)
    return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def reset(request: web.Request, _: dict[str, Any], __: int) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def once_a_connection() -> Behaviour:
    """Good on a new connection, and gone at the second request: as a server that just then took it for idle."""
    used: set[object] = set()

    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        assert request.transport is not None
        client = request.transport.get_extra_info("peername")
        answer = reset if client in used else good
        used.add(client)
        return await answer(request, question, count)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first request meets the first, the next the next; the last one stays."""

    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        return await behaviours[min(count, len(behaviours)) - 1](request, question, count)

    return behave


def takes_only(*forms: str | None) -> Behaviour:
    """A server that answers 400 to any other ``response_format`` (None: to be asked without)."""

    async def behave(request: web.Request, question: dict[str, Any], count: int) -> web.StreamResponse:
        known = form_of(question) in forms
        return await (good if known else with_status(400))(request, question, count)

    return behave


def form_of(question: dict[str, Any]) -> str | None:
    form = question.get("response_format")
    return form["type"] if form else None


@asynccontextmanager
async def model_server(behave: Behaviour) -> AsyncIterator[ModelServer]:
    server = ModelServer()

    async def handle(request: web.Request) -> web.StreamResponse:
        question = await request.json()
        server.asked.append(question)
        server.keys.append(request.headers.get("Authorization", ""))
        server.clients.add(request.transport.get_extra_info("peername") if request.transport else None)
        return await behave(request, question, len(server.asked))

    async with _serving(server, "/v1/chat/completions", handle):
        server.url += "/v1"
        yield server


@asynccontextmanager
async def _serving(
    server: ModelServer, path: str, handle: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post(path, handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()
