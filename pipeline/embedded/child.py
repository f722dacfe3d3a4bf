"""A child process that dies with us, also when we are killed with -9, and whose own death is told."""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 1.0
log = structlog.get_logger()


def dies_with_parent(number: int = signal.SIGTERM, user: int | None = None) -> Callable[[], None]:
    """A ``preexec_fn``: become ``user`` (numeric, also the group), then ask the kernel for ``number`` at our death.

    In this order: changing the user clears the death signal. The kernel watches the thread that starts the child, so
    start it from the main thread.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def prepare() -> None:
        os.setsid()  # Ctrl-C is ours to pass on
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        prctl(_PR_SET_PDEATHSIG, number)

    return prepare


@asynccontextmanager
async def watched(process: "subprocess.Popen[bytes]", part: str) -> AsyncIterator[None]:
    """Log it if the child ends meanwhile: everybody else takes that for an outage, and waits for its end."""

    async def watch() -> None:
        while process.poll() is None:
            await asyncio.sleep(_LOOK_SECONDS)
        log.error("embedded_part_gone", part=part, code=process.returncode, mend="restart")

    watching = asyncio.create_task(watch(), name=f"embedded {part}")
    try:
        yield
    finally:
        watching.cancel()


def port_in_use(port: int) -> bool:
    """Whether somebody listens on 127.0.0.1:``port``, or binding it is refused."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
