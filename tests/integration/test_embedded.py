"""The embedded parts as child processes: started, killed, started again, refused."""

import asyncio
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from pipeline import kafka
from pipeline import settings as pipeline_settings
from pipeline.embedded.broker import embedded_broker
from pipeline.embedded.postgres import ELSEWHERE, _data_folder, embedded_postgres
from pipeline.errors import Misconfigured, Unavailable
from tests.conftest import free_port
from tests.program import until

HOLD = """
import asyncio, sys
from pathlib import Path
from pipeline.embedded.broker import embedded_broker
from pipeline.embedded.postgres import embedded_postgres
async def main():
    async with embedded_postgres(Path(sys.argv[1]), int(sys.argv[2])) as url, embedded_broker(int(sys.argv[3])):
        print(url, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@contextmanager
def holder(home: Path, postgres_port: int, kafka_port: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that holds the embedded parts, and its database's URL."""
    command = [sys.executable, "-c", HOLD, str(home), str(postgres_port), str(kafka_port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def gone(port: int) -> bool:
    """Whether nobody listens there any more, within ten seconds."""
    deadline = time.monotonic() + 10
    while listens(port) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return not listens(port)


async def run(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_data_is_kept_between_runs(home: Path) -> None:
    """What one run wrote the next one reads, on another port, with the password of a file that only we can read."""
    async with embedded_postgres(home, free_port()) as url:
        await run(url, "CREATE TABLE kept AS SELECT 42 AS n")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await run(url.replace("pulseguard:", "pulseguard:x"), "SELECT 1")
    assert (home / "postgres.password").stat().st_mode & 0o777 == 0o600
    async with embedded_postgres(home, free_port()) as url:
        assert await run(url, "SELECT n FROM kept") == 42


async def test_a_lost_password_is_replaced(home: Path) -> None:
    """Without its password file the data is still ours: a new password is set."""
    async with embedded_postgres(home, free_port()) as url:
        await run(url, "CREATE TABLE kept AS SELECT 42 AS n")
    (home / "postgres.password").unlink()
    async with embedded_postgres(home, free_port()) as other:
        assert other.split("@")[0] != url.split("@")[0]
        assert await run(other, "SELECT n FROM kept") == 42


async def test_a_half_made_data_folder_is_made_anew(home: Path) -> None:
    """A kill during the first start leaves nothing that the next start takes for a database."""
    (home / "postgres.new").mkdir()
    (home / "postgres.new" / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(home, free_port()) as url:
        assert await run(url, "SELECT 1") == 1


async def test_kill_9_takes_the_children_along_and_the_next_start_works(home: Path) -> None:
    """After kill -9 of us no server is left, and a start at once on the same home finds what was committed."""
    port, kafka_port = free_port(), free_port()
    with holder(home, port, kafka_port) as (process, url):
        await run(url, "CREATE TABLE kept AS SELECT 42 AS n")
        assert listens(kafka_port)
        idle = await asyncpg.connect(url, timeout=10)  # a client that is still there
        process.kill()
        process.wait()
        async with embedded_postgres(home, port) as again:
            assert again == url
            assert await run(again, "SELECT n FROM kept") == 42
        assert await gone(kafka_port)
        idle.terminate()
    assert await gone(port)


async def test_a_server_that_outlives_its_run_is_stopped(home: Path) -> None:
    """A stopped server cannot obey the death signal; once it goes on, the next start waits for it to end."""
    port = free_port()
    with holder(home, port, free_port()) as (process, url):
        server = int(_data(home).joinpath("postmaster.pid").read_text().split()[0])
        os.kill(server, signal.SIGSTOP)
        process.kill()
        process.wait()
        os.kill(server, 0)  # it is still there
        asyncio.get_running_loop().call_later(1, os.kill, server, signal.SIGCONT)
        async with embedded_postgres(home, port) as again:
            assert await run(again, "SELECT 1") == 1
        assert again == url


async def test_a_stale_pid_file_is_no_obstacle(home: Path) -> None:
    """A pid file whose number belongs to another program now neither stops the start nor harms that program."""
    async with embedded_postgres(home, free_port()):
        text = _data(home).joinpath("postmaster.pid").read_text()
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        _data(home).joinpath("postmaster.pid").write_text(str(bystander.pid) + "\n" + text.split("\n", 1)[1])
        async with embedded_postgres(home, free_port()) as url:
            assert await run(url, "SELECT 1") == 1
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_second_run_on_one_home_is_refused(home: Path) -> None:
    """While one lives, another on the same home is told so, and the first goes on."""
    with holder(home, free_port(), free_port()) as (_, url):
        with pytest.raises(Misconfigured) as caught:
            async with embedded_postgres(home, free_port()):
                pass
        assert caught.value.variable == "PULSEGUARD_HOME"
        assert await run(url, "SELECT 1") == 1


async def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """By its variable, as every other wrong value."""
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=r"^PULSEGUARD_HOME: .*/file/home: Not a directory"):
        async with embedded_postgres(tmp_path / "file" / "home", free_port()):
            pass


async def test_a_port_in_use_is_named(home: Path) -> None:
    """A taken port is a clear error that names its variable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured) as caught:
            async with embedded_postgres(home, port):
                pass
        assert caught.value.variable == "POSTGRES_PORT"
        with pytest.raises(Misconfigured) as caught:
            async with embedded_broker(port):
                pass
        assert caught.value.variable == "KAFKA_PORT"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
async def test_a_home_that_nobody_reaches_keeps_its_data_elsewhere(tmp_path: Path) -> None:
    """Under a closed folder the server runs all the same, on data whose place depends on the home alone."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = _data(closed)
    assert data.is_relative_to(ELSEWHERE)
    try:
        async with embedded_postgres(closed, free_port()) as url:
            await run(url, "CREATE TABLE kept AS SELECT 42 AS n")
        async with embedded_postgres(closed, free_port()) as url:
            assert await run(url, "SELECT n FROM kept") == 42
    finally:
        shutil.rmtree(data.parent)


async def test_the_broker_carries_messages() -> None:
    """What is sent to the embedded broker is read back."""
    async with embedded_broker(free_port()) as address:
        settings = replace(pipeline_settings.read({}), kafka=address, kafka_is_embedded=True)
        await kafka.create_topics(settings)
        sender = kafka.Sender(settings)
        await sender.send(settings.topic_anomalies, b"k", b"v")
        await sender.close()
        found = await kafka.read_all(settings, settings.topic_anomalies)
        assert [(message.key, message.value) for message in found] == [(b"k", b"v")]
    assert await gone(int(address.split(":")[1]))


def _data(home: Path) -> Path:
    return _data_folder(home.resolve(), 65534 if os.geteuid() == 0 else None)


async def test_a_client_that_cannot_read_tags_gets_none() -> None:
    """Asked for its versions as librdkafka 2.0 asks, the broker's answer closes without tagged fields."""
    async with embedded_broker(free_port()) as address:
        body, writer = await versions(address)
        correlation, error, keys = struct.unpack(">ihB", body[:7])
        assert (correlation, error) == (7, 0)
        assert len(body) == 4 + 2 + 1 + (keys - 1) * 7 + 4 + 1  # no tags: 7 bytes a key, throttle time, a zero
        writer.close()
        await writer.wait_closed()


async def test_the_broker_stops_at_once_while_a_client_is_connected() -> None:
    """Ctrl-C waits for nobody else's connection."""
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(embedded_broker(free_port()))
        _, writer = await versions(address)
        async with asyncio.timeout(3):
            await stack.aclose()
        writer.close()
    assert await gone(int(address.split(":")[1]))


async def test_a_part_that_is_killed_is_told_of(home: Path) -> None:
    """To everybody else it is an outage, which will end; one that is stopped is no news."""
    with capture_logs() as logged:
        async with embedded_broker(free_port()), embedded_postgres(home, free_port()):
            pass
    assert not [said for said in logged if said["event"] == "embedded_part_gone"]
    before = children()
    with capture_logs() as logged:
        async with embedded_broker(free_port()), embedded_postgres(home, free_port()):
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)

            async def told() -> bool:
                parts = {said["part"] for said in logged if said["event"] == "embedded_part_gone"}
                return parts == {"broker", "postgres"}

            await until(told, 10, "the log's line for each")


def children() -> set[int]:
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


async def test_more_connections_than_it_has_files_for_pass() -> None:
    """While they last nobody else is served, and then everybody is."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with AsyncExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, allowed[1]))  # the broker's too
        try:
            address = await stack.enter_async_context(embedded_broker(free_port()))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
        settings = replace(pipeline_settings.read({}), kafka=address, kafka_is_embedded=True)
        with ExitStack() as many:
            for _ in range(300):
                many.enter_context(socket.create_connection(address.split(":"), timeout=5))
            with pytest.raises(Unavailable):
                await kafka.ping(settings)
        await kafka.check(settings, 10)


async def versions(address: str) -> tuple[bytes, asyncio.StreamWriter]:
    """What a connection is answered that asks for versions as librdkafka 2.0 does, and its end to close."""
    name = b"\x0blibrdkafka\x062.0.2\x00"
    request = struct.pack(">hhih", 18, 3, 7, 1) + b"x\x00" + name
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(struct.pack(">i", len(request)) + request)
    return await reader.readexactly(struct.unpack(">i", await reader.readexactly(4))[0]), writer
