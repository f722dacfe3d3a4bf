"""A real HTTP server that plays Slack: an incoming webhook and chat.postMessage, misbehaving by script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from aiohttp import web


@dataclass
class SlackServer:
    """``script`` are the next answers, one a post; then ``ok`` for ever. ``posts`` are (time, body), as they came.

    ``answers`` are the words that they were answered with. Of ``hang`` nobody knows whether it was shown, ``stuck`` was
    not. ``edits``, ``views`` and ``whispers`` are the bodies of chat.update, views.open and chat.postEphemeral, which
    always succeed; the n-th post of a bot has the timestamp "n.5".
    """

    webhook: str = ""
    api: str = ""
    script: list[str] = field(default_factory=list)
    posts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    edits: list[dict[str, Any]] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    whispers: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.posts.append((monotonic(), await request.json()))
        word = self.script.pop(0) if self.script else "ok"
        self.answers.append(word)
        bot = request.path.startswith("/api/")
        if word.isdigit():
            return web.Response(status=int(word), text="played")
        if word.startswith("limit "):
            return web.Response(status=429, headers={"Retry-After": word.removeprefix("limit ")}, text="")
        await asyncio.sleep({"hang": 30, "stuck": 30, "slow": 2}.get(word, 0))
        if word == "reset":
            assert request.transport is not None
            request.transport.abort()
        if word == "elsewhere":
            raise web.HTTPFound("/login")
        if word in {"garbage", "page"}:
            return _nonsense(word)
        if word not in {"ok", "slow", "hang", "reset"}:
            return web.json_response({"ok": False, "error": word})
        if not bot:
            return web.Response(text="ok")
        return web.json_response({"ok": True, "channel": "C1", "ts": f"{len(self.posts)}.5"})

    async def login(self, _: web.Request) -> web.StreamResponse:
        return _nonsense("page")

    async def open(self, request: web.Request) -> web.StreamResponse:
        self.views.append(await request.json())
        return web.json_response({"ok": True, "view": {"id": "V1"}})

    async def whisper(self, request: web.Request) -> web.StreamResponse:
        self.whispers.append(await request.json())
        return web.json_response({"ok": True, "message_ts": "1.5"})

    async def edit(self, request: web.Request) -> web.StreamResponse:
        self.edits.append(await request.json())
        return web.json_response({"ok": True})


def _nonsense(word: str) -> web.Response:
    if word == "page":  # that a proxy shows to who is not logged in
        return web.Response(text="<!doctype html><p>Who are you?", content_type="text/html")
    return web.Response(text="<not json", content_type="application/json", status=500)


@asynccontextmanager
async def slack_server(*script: str) -> AsyncIterator[SlackServer]:
    server = SlackServer(script=list(script))
    app = web.Application()
    app.router.add_post("/hook", server.answer)
    app.router.add_get("/login", server.login)
    app.router.add_post("/api/chat.postMessage", server.answer)
    app.router.add_post("/api/chat.update", server.edit)
    app.router.add_post("/api/chat.postEphemeral", server.whisper)
    app.router.add_post("/api/views.open", server.open)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server.webhook, server.api = f"{root}/hook", f"{root}/api/"
    try:
        yield server
    finally:
        await runner.cleanup()
