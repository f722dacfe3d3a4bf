"""The program as a user runs it: a child process, real clients, and waiting for the thing itself."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pipeline.embedded.child import free_port

__all__ = ["ROOT", "Program", "command", "free_port", "open_folder", "running", "until"]

ROOT = Path(__file__).parent.parent


def open_folder() -> Path:
    """A temporary folder that the unprivileged user of an embedded PostgreSQL can reach; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="pulseguard-"))
    folder.chmod(0o755)
    return folder


class Program:
    """A running `pulseguard`; its output is in ``log``."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    async def says(self, text: str, seconds: float = 40) -> None:
        """Wait until the output holds ``text``."""

        async def said() -> bool:
            assert self.process.poll() is None, self.output
            return text in self.output

        await until(said, seconds, what=f"{text!r} in the output")

    def kill(self) -> None:
        """kill -9, this process alone."""
        self.process.kill()
        self.process.wait()

    async def stop(self, number: int = signal.SIGINT, seconds: float = 40) -> int:
        """Ask it to stop; returns the exit code."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, seconds)


@asynccontextmanager
async def running(arguments: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[Program]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=kept | environment,
        )  # fmt: skip
    program = Program(process, log)
    try:
        yield program
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def command(
    arguments: Sequence[str], environment: Mapping[str, str], given: bytes = b"", seconds: float = 90
) -> tuple[int, str]:
    """Exit code and output of `pulseguard ARGUMENTS`, in no other environment. One that does not end is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline", *arguments, cwd=ROOT, env={"PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate(given)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()


async def until(holds: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
    """Wait until ``holds`` says so; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        await asyncio.sleep(0.1)
