"""A headless Chromium, driven by its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/."""

import asyncio
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import websockets

from tests.program import until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-sync", "--disable-component-update", "--disable-quic", "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
]  # fmt: skip


def browser() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One tab. ``complaints`` are its uncaught errors, console errors, refusals by policy, and dialogs."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []

    async def listen(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            elif message["method"] in {"Runtime.exceptionThrown", "Page.javascriptDialogOpening"} or (
                message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error"
            ):
                self.complaints.append(json.dumps(message["params"])[:500])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        message = await asyncio.wait_for(answer, 30)
        assert "error" not in message, message
        return dict(message["result"])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def value(self, script: str) -> Any:
        """What the expression is in the page."""
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def shows(self, text: str) -> None:
        """Wait until a reader sees ``text``."""

        async def there() -> bool:
            return text in (await self.value("document.body ? document.body.innerText : ''") or "")

        await until(there, 40, f"{text!r} on the page")

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )


@asynccontextmanager
async def tab() -> AsyncIterator[Page]:
    """A tab of a fresh browser with an empty profile."""
    path = browser()
    assert path is not None
    profile = Path(tempfile.mkdtemp(prefix="pulseguard-browser-"))
    process = subprocess.Popen(
        [path, *QUIET, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        where = profile / "DevToolsActivePort"

        async def listens() -> bool:
            return where.exists() and where.read_text().count("\n") >= 1

        await until(listens, 60, "the browser")
        port = where.read_text().split()[0]
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/json/list") as answer:
            targets = await answer.json()
        address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        async with websockets.connect(address, max_size=2**24) as socket:
            page = Page(socket)
            listener = asyncio.create_task(page.listen())
            for domain in ("Page", "Runtime", "Log"):
                await page.call(f"{domain}.enable")
            yield page
            listener.cancel()
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)
